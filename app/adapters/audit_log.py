"""The audit log: one JSON line per decision. The request path only appends to a bounded queue.

A daemon thread formats and writes, so that a full disk or a pipe that nobody reads costs lines, which are counted,
and never a request.
"""

from __future__ import annotations

import asyncio
import json
import os
import stat
import threading
import time
from collections import deque
from pathlib import Path

from app.domain.events import CredentialPurged, Decision, Event, PolicyLoaded, PolicyRefused, RequestDecided

MAX_WAITING = 100_000
"""Events that may wait to be written; further ones are lost and counted."""

FLUSH_SECONDS = 2.0
"""How long `AuditLog.aclose` waits for the last lines."""

_PAUSE = 0.05
_BATCH = 5000
_MAX_REMEMBERED = 10_000
_TOKEN_DIGITS = 16
_STDOUT = 1

_Audited = RequestDecided | CredentialPurged | PolicyLoaded | PolicyRefused


class AuditLog:
    """Writes decisions, purges and changes of policy as JSON lines.

    Args:
        path: File to append to (created with mode 0640; opened anew when it was rotated), or None for standard output.

    """

    def __init__(self, path: Path | None) -> None:
        self._waiting: deque[_Audited] = deque()
        self._output = _Output(path)
        self._format = _Format()
        self._overflowed = 0
        self._in_hand = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._write_on, name="audit-log", daemon=True)

    def start(self) -> None:
        """Open the file and begin to write.

        Raises:
            OSError: The file cannot be opened.

        """
        self._output.open()
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines lost since the start: too many waited, or the file could not be written."""
        return self._overflowed + self._output.lost

    def emit(self, event: Event) -> None:
        """See `app.ports.EventSink.emit`."""
        if type(event) is RequestDecided or isinstance(event, _Audited):
            if len(self._waiting) < MAX_WAITING:
                self._waiting.append(event)
            else:
                self._overflowed += 1

    async def aclose(self) -> None:
        """Write what waits, for `FLUSH_SECONDS` at most; what is left then is counted as lost."""
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
        while True:
            stopping = self._stopping.wait(_PAUSE)
            while self._waiting:
                self._in_hand = min(len(self._waiting), _BATCH)
                self._output.write([self._format.line(self._waiting.popleft()) for _ in range(self._in_hand)])
                self._in_hand = 0
            if stopping:
                return


class _Format:
    """Makes lines. The part of a line that is the same for all requests decided alike is made once."""

    def __init__(self) -> None:
        self._constant: dict[Decision, str] = {}
        self._second = -1
        self._second_text = ""

    def line(self, event: _Audited) -> str:
        """One JSON object, without the newline."""
        start = f'{{"audit":1,"time":"{self._time(event.at)}"'
        match event:
            case RequestDecided(request_id=request_id, decision=decision):
                constant = self._constant.get(decision) or self._remember(decision)
                return f'{start},"event":"request","request_id":{json.dumps(request_id)},{constant}'
            case CredentialPurged(ref=ref, epoch=epoch, origin=origin):
                purge = {"event": "purge", "org": ref.org, "credential": ref.name, "epoch": epoch, "origin": origin}
                return f"{start},{_members(purge)}"
            case PolicyLoaded(version=version):
                return f"{start},{_members({'event': 'policy_loaded', 'version': version})}"
            case PolicyRefused(reason=reason):
                return f"{start},{_members({'event': 'policy_refused', 'reason': reason})}"

    def _remember(self, decision: Decision) -> str:
        if len(self._constant) >= _MAX_REMEMBERED:
            self._constant.clear()
        token = decision.token_sha256
        constant = self._constant[decision] = _members(
            {
                "caller": decision.caller,
                "org": decision.org,
                "credential": decision.credential,
                "scope": decision.scope,
                "generation": decision.generation,
                "token_sha256": None if token is None else token[:_TOKEN_DIGITS],
                "endpoint": decision.endpoint,
                "action": decision.action,
                "outcome": decision.outcome,
                "tier": decision.tier,
            }
        )
        return constant

    def _time(self, at: float) -> str:
        """RFC 3339, UTC, in milliseconds."""
        second, millisecond = divmod(int(at * 1000), 1000)
        if second != self._second:
            self._second, self._second_text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{millisecond:03d}Z"


def _members(values: dict[str, object]) -> str:
    """A JSON object without its opening brace."""
    return json.dumps(values, separators=(",", ":"))[1:]


class _Output:
    """A file that is appended to, or standard output. Used by one thread."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._descriptor = _STDOUT
        self._torn = False
        self.lost = 0

    def open(self) -> None:
        if self._path is not None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, 0o640)
            self._torn = self._ends_torn(self._path)

    def _ends_torn(self, path: Path) -> bool:
        """Whether the file ends within a line: a full disk, or the end of an earlier process, cut it short."""
        there = os.fstat(self._descriptor)
        if not stat.S_ISREG(there.st_mode) or there.st_size == 0:
            return False
        try:
            with path.open("rb") as file:
                file.seek(-1, os.SEEK_END)
                return file.read(1) != b"\n"
        except OSError:  # may be written but not read
            return False

    def close(self) -> None:
        if self._path is not None and self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def write(self, lines: list[str]) -> None:
        """Append whole lines; those of a batch that cannot be written are lost."""
        try:
            self._reopen_if_rotated()
            # After a line that was cut short, the next one must not be glued to its stump.
            self._write_all(("\n" * self._torn + "\n".join(lines) + "\n").encode())
            self._torn = False
        except OSError:
            self.lost += len(lines)

    def _reopen_if_rotated(self) -> None:
        if self._path is None:
            return
        try:
            there = self._path.stat()
            ours = os.fstat(self._descriptor)
            if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
                return
        except OSError:  # moved away, or never opened again after a failure
            pass
        self.close()
        self.open()

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                written = os.write(self._descriptor, view)
            except BlockingIOError:  # somebody made our standard output non-blocking
                time.sleep(_PAUSE)
                continue
            self._torn = written < len(view)
            view = view[written:]
