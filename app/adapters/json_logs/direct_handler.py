"""JSON lines of a process that may neither have threads nor wait for the reader of its log."""

from __future__ import annotations

import contextlib
import logging
import os
import select

from typing_extensions import override

from app.adapters.json_logs.json_lines import JsonFormatter
from app.process.write_lock import WriteLock

_LOCK_SECONDS = 0.1
"""How long a line waits for another process that writes: a write to a reader that keeps up takes far less."""


class DirectLogHandler(logging.Handler):
    """Writes a line at once, or drops it if that would block.

    Args:
        descriptor: The file descriptor to write to.
        lock: The descriptor of a `WriteLock`, if other processes write there, too.

    """

    def __init__(self, descriptor: int, lock: int | None = None) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self._descriptor = descriptor
        self._lock = WriteLock(lock)
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    @override
    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(Exception):  # a log call must never fail; the record may hold anything
            line = self.format(record)
            # Looked at before the lock as well: the worker that holds it may be stuck in its write.
            if self._takes_more():
                with self._lock.held(_LOCK_SECONDS):
                    self._write(line)

    def _write(self, line: str) -> None:
        data = ("\n" * self._lock.is_cut + line + "\n").encode()
        while data and self._takes_more():
            # A pipe that is writable takes this much without blocking (select.PIPE_BUF).
            written = os.write(self._descriptor, data[: select.PIPE_BUF])
            data = data[written:]
            self._lock.is_cut = bool(data)

    def _takes_more(self) -> bool:
        """Whether a write returns at once. If there is no reader, it does, with an error."""
        return bool(self._poll.poll(0))
