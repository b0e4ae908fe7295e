"""Identical worker processes, and the parent that starts, replaces and stops them (a prefork supervisor).

The parent has no threads and no event loop, so it can fork at any time. `WorkerPool.run` returns in each worker, as
``fork`` does.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType

_ENDING = (signal.SIGTERM, signal.SIGINT)
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds until a worker that exited is replaced: doubled each time, up to the longest (exponential back-off)."""

STEADY_SECONDS = 60.0
"""After a worker ran for this long, the back-off starts again with the first pause."""

KILL_PAUSE = 1.0
"""Seconds until the kill is repeated: a killed worker may take a while to exit, in a system call."""

KILLED = 128
"""Added to the number of a signal that ended a worker, as shells do."""


@dataclass(frozen=True, slots=True)
class Worker:
    """This process, as one of the workers.

    Args:
        index: Its place, from 0. A worker that replaces it has the same index.
        incarnation: The number of workers that had this index before it.
        orphaned: A descriptor that becomes readable when the parent exits.
        ready: Tells the parent that it serves.

    """

    index: int
    incarnation: int
    orphaned: int
    ready: Callable[[], None]


@dataclass(slots=True)
class _Place:
    index: int
    incarnation: int = -1
    pid: int | None = None
    started_at: float = 0.0
    pause: float = FIRST_PAUSE
    start_at: float | None = None
    report: int | None = None
    """The pipe on which its worker reports that it serves; None after it has."""
    has_worked: bool = False


@dataclass(slots=True)
class WorkerPool:
    """Starts and watches workers.

    The first worker is started alone: if it cannot start, no other worker is started, so its error is shown once.
    A worker that exits later is replaced. SIGTERM and SIGINT stop all workers.

    Args:
        count: The number of workers.
        end_seconds: Seconds that the workers have to exit before they are killed.
        started: Called in the parent when all workers serve for the first time.
        ended: Called in the parent when a worker has exited, for whatever reason: with its index, its incarnation, its
            exit status, and the seconds until it is replaced, or None if it is not.

    """

    count: int
    end_seconds: float
    started: Callable[[], None]
    ended: Callable[[int, int, int, float | None], None]
    _places: list[_Place] = field(init=False)
    _ends_at: float | None = None
    _status: int = 0
    _is_started: bool = False

    def __post_init__(self) -> None:
        self._places = [_Place(index) for index in range(self.count)]

    def run(self) -> Worker | int:
        """Return the worker, in each worker; in the parent, once all workers have exited, the exit status."""
        signals, wake = os.pipe()
        alive, parent = os.pipe()
        os.set_blocking(wake, False)
        for number in (*_ENDING, signal.SIGCHLD):
            signal.signal(number, _note)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._places[0].start_at = time.monotonic()
        while True:
            for place in self._places:
                if place.start_at is not None and time.monotonic() >= place.start_at:
                    worker = self._fork(place, alive, parent, (signals, wake))
                    if worker is not None:
                        return worker
            self._wait(signals)
            self._reap()
            if self._ends_at is not None and time.monotonic() >= self._ends_at:
                self._send(signal.SIGKILL)
                self._ends_at = time.monotonic() + KILL_PAUSE
            if not any(place.pid or place.start_at is not None for place in self._places):
                return self._status

    def _fork(self, place: _Place, alive: int, parent: int, of_parent: tuple[int, int]) -> Worker | None:
        """In the worker, the worker; in the parent, None."""
        told, tell = os.pipe()
        os.set_blocking(told, False)
        place.incarnation += 1
        place.start_at = None
        # No signal may arrive in the worker while it still has the parent's handlers.
        numbers = {*_ENDING, signal.SIGCHLD}
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        pid = os.fork()
        if pid:
            place.pid, place.started_at, place.report = pid, time.monotonic(), told
            os.close(tell)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
            return None
        signal.set_wakeup_fd(-1)
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
        others = [other.report for other in self._places if other.report is not None]
        for descriptor in (told, parent, *of_parent, *others):
            os.close(descriptor)

        def ready() -> None:
            os.write(tell, b"1")
            os.close(tell)

        return Worker(place.index, place.incarnation, alive, ready)

    def _wait(self, signals: int) -> None:
        """Wait for a signal, for a worker's report that it serves, or until something is due."""
        due = [at for at in (self._ends_at, *(place.start_at for place in self._places)) if at is not None]
        pause = max(0.0, min(due) - time.monotonic()) if due else None
        reports = {place.report: place for place in self._places if place.report is not None}
        readable, _, _ = select.select([signals, *reports], [], [], pause)
        for descriptor in readable:
            if descriptor == signals:
                self._heed(os.read(signals, 4096))
                continue
            if _has_reported(reports[descriptor]):
                self._works()

    def _heed(self, numbers: bytes) -> None:
        if self._ends_at is None and not set(_ENDING).isdisjoint(numbers):
            self._end()

    def _works(self) -> None:
        if self._ends_at is not None or self._is_started:
            return
        waiting = [place for place in self._places if place.incarnation < 0]
        for place in waiting:
            place.start_at = time.monotonic()
        if not waiting and all(place.pid and place.report is None for place in self._places):
            self._is_started = True
            self.started()

    def _end(self) -> None:
        self._ends_at = time.monotonic() + self.end_seconds
        for place in self._places:
            place.start_at = None
        self._send(signal.SIGTERM)

    def _send(self, number: signal.Signals) -> None:
        for place in self._places:
            if place.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(place.pid, number)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            place = next((place for place in self._places if place.pid == pid), None)
            if place is not None:  # else an orphan: PID 1 of a container inherits orphans
                self._over(place, os.waitstatus_to_exitcode(status))

    def _over(self, place: _Place, status: int) -> None:
        status = KILLED - status if status < 0 else status
        place.pid = None
        if _has_reported(place):  # and exited before the parent read it
            self._works()
        pause: float | None = None
        if self._ends_at is not None:
            self._status = self._status or status
        elif not any(other.has_worked for other in self._places):
            self._status = status or 1
        else:
            if time.monotonic() - place.started_at >= STEADY_SECONDS:
                place.pause = FIRST_PAUSE
            pause, place.pause = place.pause, min(2 * place.pause, LONGEST_PAUSE)
            place.start_at = time.monotonic() + pause
        self.ended(place.index, place.incarnation, status, pause)


def _has_reported(place: _Place) -> bool:
    """Read a worker's report that it serves, if it was not read before, and close the pipe."""
    if place.report is None:
        return False
    try:
        works = bool(os.read(place.report, 1))
    except BlockingIOError:  # It has exited without a report, and a child of it still has the pipe.
        works = False
    os.close(place.report)
    place.report = None
    place.has_worked = place.has_worked or works
    return works


def _note(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: Python has written the signal's number to the wake-up pipe."""
