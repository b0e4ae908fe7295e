"""The audit log: one JSON line per decision. The request path only appends to a bounded queue.

A daemon thread formats and writes, so that a full disk or a pipe that no one reads costs lines, which are counted,
and never a request.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from pathlib import Path

from app.adapters.audit_log.audit_lines import Audited, AuditLines
from app.adapters.audit_log.chained import Chained, Plain
from app.adapters.audit_log.output import Output
from app.domain.events import Event, RequestDecided

MAX_WAITING_AUDIT_LINES = 100_000

FLUSH_SECONDS = 2.0
"""How long `AuditLog.aclose` waits for the last lines."""

_PAUSE = 0.05
_BATCH = 5000


class AuditLog:
    """Writes decisions, purges and changes of policy as JSON lines.

    Args:
        path: File to append to (created with mode 0640; opened again after a rotation), or None for standard output.
        chained: Whether each line carries the SHA-256 of the one before; see `app.domain.audit_chain`.
        max_waiting: Events that may wait to be written; further ones are lost and counted.

    """

    def __init__(self, path: Path | None, *, chained: bool = False, max_waiting: int = MAX_WAITING_AUDIT_LINES) -> None:
        self._max_waiting = max_waiting
        self._waiting: deque[Audited] = deque()
        self._output = Output(path)
        self._format = AuditLines()
        self._form: Plain | Chained = Chained(self._format) if chained else Plain()
        self._overflowed = 0
        self._unwritten = 0
        self._in_hand = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._write_on, name="audit-log", daemon=True)

    def start(self) -> None:
        """Open the file and begin to write.

        Raises:
            OSError: The file cannot be opened.

        """
        self._output.open()
        self._form.begin(self._output)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines lost since the start: too many waited, or the file could not be written."""
        return self._overflowed + self._unwritten

    def emit(self, event: Event) -> None:
        """See `app.ports.EventSink.emit`."""
        if type(event) is RequestDecided or isinstance(event, Audited):
            if len(self._waiting) < self._max_waiting:
                self._waiting.append(event)
            else:
                self._overflowed += 1

    async def aclose(self) -> None:
        """Write the lines that wait, for `FLUSH_SECONDS` at most; those left then are counted as lost."""
        self._stopping.set()
        if self._thread.ident is None:
            return
        await asyncio.to_thread(self._thread.join, FLUSH_SECONDS)
        if self._thread.is_alive():
            # The thread is stuck in a write; it ends with the process.
            self._overflowed += self._in_hand + len(self._waiting)
        else:
            self._output.close()

    def _write_on(self) -> None:
        self._write([])
        while True:
            stopping = self._stopping.wait(_PAUSE)
            while self._waiting:
                self._in_hand = min(len(self._waiting), _BATCH)
                self._write([self._format.line(self._waiting.popleft()) for _ in range(self._in_hand)])
                self._in_hand = 0
            if stopping:
                self._write([], ending=True)
                return

    def _write(self, lines: list[str], *, ending: bool = False) -> None:
        data = self._form.bytes_of(lines, time.time(), self.dropped, ending=ending)
        if data:
            self._unwritten += len(lines) - self._form.wrote(self._output.write(data))
