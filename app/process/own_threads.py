"""Threads that belong to one component, for blocking work: files, parsing, libraries without asyncio.

The executor of the event loop also resolves host names for every connection, so nothing else may fill it. Components
with separate threads also cannot block each other.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class ThreadsBusyError(Exception):
    """The queue for the threads is full."""


class ThreadsClosedError(Exception):
    """The threads were closed before the work was done."""


class OwnThreads:
    """Runs blocking work in a fixed number of threads, with a bounded queue and a deadline.

    A thread cannot be interrupted. Work that no one waits for any more is not started. If it is already running,
    it keeps its thread, and counts against the limit, until it ends.

    Args:
        name: The prefix of the threads' names.
        threads: The number of jobs that run at once.
        waiting: The number of jobs that may wait for a thread.
        deadline: Seconds for one job, with its wait for a thread; None if the caller has a deadline.

    """

    def __init__(self, name: str, *, threads: int, waiting: int, deadline: float | None = None) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._places = threading.BoundedSemaphore(threads + waiting)
        self._deadline = deadline

    async def run(self, work: Callable[[], T]) -> T:
        """The result of `work`, or its error.

        Raises:
            ThreadsBusyError: Too much work is waiting.
            ThreadsClosedError: `close` was called.
            TimeoutError: The deadline passed.

        """
        job = _Job(work)
        future = asyncio.wrap_future(self._submit(job))
        future.add_done_callback(_retrieve)
        try:
            # `wait` never cancels the future: cancelled work would stay queued, but not count against the limit.
            await asyncio.wait({future}, timeout=self._deadline)
        except asyncio.CancelledError:
            job.abandoned = True
            raise
        if not future.done():
            job.abandoned = True
            raise TimeoutError
        if future.cancelled():
            raise ThreadsClosedError
        try:
            return future.result()
        finally:
            del future  # It has the error, and the traceback of the error has this frame: a cycle.

    def close(self) -> None:
        """Drop waiting work and let the threads end. Does not wait for work that hangs."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _submit(self, job: _Job[T]) -> Future[T]:
        if not self._places.acquire(blocking=False):
            raise ThreadsBusyError
        try:
            future = self._executor.submit(job.run)
        except RuntimeError:
            self._places.release()
            raise ThreadsClosedError from None
        future.add_done_callback(lambda _: self._places.release())
        return future


class _Job(Generic[T]):
    """A piece of work. It is skipped if no one waits for it any more when a thread is free."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self.abandoned = False

    def run(self) -> T:
        if self.abandoned:
            raise TimeoutError
        return self._work()


def _retrieve(future: asyncio.Future[T]) -> None:
    """Mark an error as retrieved, because work that no one waits for may fail."""
    if not future.cancelled():
        future.exception()
