"""Makes one call at a time for each name, and lets any number of threads and asyncio tasks wait for it."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


def _forked(flights: Flights[Any] | None) -> None:
    if flights is not None:
        flights.start_again()


@dataclass(frozen=True)
class _Flight(Generic[T]):
    """A call that runs, and the monotonic time after which no one waits for it any longer."""

    future: Future[T]
    overdue: float


class Flights(Generic[T]):
    """Calls in threads of their own, so that a caller that gives up does not end the call for the others.

    Args:
        seconds: How long a call may take before another is started next to it.

    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._reset()
        this = weakref.ref(self)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=lambda: _forked(this()))

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, _Flight[T]] = {}

    def join(self, name: str, call: Callable[[], T]) -> tuple[Future[T], bool]:
        """The call of this name that runs, or else a new one; and whether it is new."""
        now = time.monotonic()
        with self._lock:
            running = self._running.get(name)
            if running is not None and running.overdue > now:
                return running.future, False
            future: Future[T] = Future()
            future.set_running_or_notify_cancel()  # from now on, it cannot be cancelled by one of those who wait
            self._running[name] = _Flight(future, now + self._seconds)
        thread = threading.Thread(
            target=self._run, args=(name, future, call), name="ims-token-broker-client", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:  # the process is ending, or has too many threads
            self._forget(name, future)
            future.set_exception(error)
        return future, True

    def _run(self, name: str, future: Future[T], call: Callable[[], T]) -> None:
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001  # those who wait must hear of it, whatever it is
            self._forget(name, future)
            future.set_exception(error)
        else:
            self._forget(name, future)
            future.set_result(result)

    def start_again(self) -> None:
        """Forget all calls: a forked process has no such threads, and a lock that one of them may have held."""
        self._reset()

    def _forget(self, name: str, future: Future[T]) -> None:
        with self._lock:
            running = self._running.get(name)
            if running is not None and running.future is future:
                del self._running[name]
