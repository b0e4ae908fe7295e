"""The audit log: one JSON line per decision. The request path only appends to a bounded queue.

A daemon thread formats and writes, so that no request waits for a disk or for the reader of a pipe. If it cannot write,
either lines are lost and counted, or they are kept and no further requests are accepted; never both.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from typing_extensions import override

from app.adapters.audit_log.audit_lines import Audited, AuditLines
from app.adapters.audit_log.chained import Chained, Plain
from app.adapters.audit_log.output import Output
from app.domain.decision import DONE, VENDED
from app.domain.events import Event, RequestDecided
from app.ports import RequestSink

MAX_WAITING_AUDIT_LINES = 100_000

FLUSH_SECONDS = 2.0
"""How long `AuditLog.aclose` waits for the last lines."""

_PAUSE = 0.05
_RETRY_SECONDS = 0.5
_BATCH = 200
"""Lines that are made in a row, without letting the event loop's thread have the interpreter: about 0.2 ms."""

_REST = 0.001
"""Seconds between two batches. A thread that is woken needs some time to take the interpreter."""

_GRANTED = frozenset({VENDED, DONE})


class AuditLog(RequestSink):
    """Writes decisions, purges and changes of policy as JSON lines.

    Args:
        path: File to append to (created with mode 0640; opened again after a rotation), or None for standard output.
        chained: Whether each line carries the SHA-256 of the one before; see `app.domain.audit_chain`.
        blocks: Whether a line that cannot be written is kept and tried again, while `is_full` ends the acceptance of
            requests. Otherwise it is lost and counted.
        lock: The descriptor of a `WriteLock`, held while lines are written, if other processes write there, too.
        max_waiting: Events that may wait to be written; further ones are lost and counted. Refusals have half of these
            places, because anyone can cause them. If the log blocks, no line of a granted request is lost: a request
            that was accepted before may still be granted, and its line is added.

    """

    def __init__(
        self,
        path: Path | None,
        *,
        chained: bool = False,
        blocks: bool = False,
        lock: int | None = None,
        max_waiting: int = MAX_WAITING_AUDIT_LINES,
    ) -> None:
        self._max_waiting = max_waiting
        self._max_refusals = max_waiting // 2
        self._blocks = blocks
        self._waiting: deque[Audited] = deque()
        self._output = Output(path, lock)
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

    def is_full(self) -> bool:
        """Whether no further request may be accepted, because its line might be lost."""
        return self._blocks and len(self._waiting) + self._in_hand >= self._max_waiting

    @override
    def emit(self, event: Event) -> None:
        """See `app.ports.EventSink.emit`."""
        if type(event) is RequestDecided:
            if event.decision.outcome in _GRANTED:
                has_room = self._blocks or len(self._waiting) < self._max_waiting
            elif event.decision.was_looked_at:
                has_room = len(self._waiting) + self._in_hand < self._max_refusals
            else:
                return
        elif isinstance(event, Audited):
            has_room = len(self._waiting) < self._max_waiting
        else:
            return
        if has_room:
            self._waiting.append(event)
        else:
            self._overflowed += 1

    @override
    def emit_granted(self, events: Sequence[RequestDecided]) -> None:
        if self._blocks or len(self._waiting) + len(events) <= self._max_waiting:
            self._waiting.extend(events)
        else:
            super().emit_granted(events)

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
                if not stopping:
                    time.sleep(_REST)
            if stopping:
                self._write([], ending=True)
                return

    def _write(self, lines: list[str], *, ending: bool = False) -> None:
        while data := self._form.bytes_of(lines, time.time(), self.dropped, ending=ending):
            lines = lines[self._form.wrote(self._output.write(data)) :]
            # At the end of the process, what cannot be written is lost in any case.
            if not (lines and self._blocks) or self._stopping.wait(_RETRY_SECONDS):
                break
        self._unwritten += len(lines)
