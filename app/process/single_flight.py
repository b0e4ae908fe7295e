"""One flight per key in this process: whoever wants the same thing at the same time shares one owned task.

A waiter that is cancelled harms nobody: the task belongs to `SingleFlight`, not to the first who asked. Measured on the
naive form, where followers await the leader: cancelling one of a hundred failed all hundred.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from app.domain.errors import OverloadedError

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


MAX_WAITERS = 2_000


class SingleFlight(Generic[Key, Result]):
    """A registry of running flights.

    Args:
        limit: How many may run at once; one more is refused, so that the queue has a bound.
        waiters: How many may wait for one of them; so one that hangs takes no more than its share of all who wait.

    """

    def __init__(self, limit: int, waiters: int = MAX_WAITERS) -> None:
        self._limit = limit
        self._most_waiters = waiters
        self._waiting: Counter[Key] = Counter()
        self._running: dict[Key, asyncio.Task[Result]] = {}

    def __len__(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        """How many wait for a flight."""
        return sum(self._waiting.values())

    def __contains__(self, key: Key) -> bool:
        task = self._running.get(key)
        return task is not None and not task.done()

    def board(self, key: Key, start: Callable[[], Coroutine[Any, Any, Result]]) -> asyncio.Task[Result]:
        """The running flight for `key`, or a new one of `start()`.

        Raises:
            OverloadedError: Too many flights are running.

        """
        task = self._running.get(key)
        # A flight that has just landed is over, even where its landing has not been noted yet: what it brought
        # may have been purged in this very moment.
        if task is not None and not task.done():
            return task
        if task is None and len(self._running) >= self._limit:
            raise OverloadedError("Too many tenants wait for a new token at once.")
        task = asyncio.create_task(start(), name=f"flight-{len(self._running)}")
        self._running[key] = task
        task.add_done_callback(lambda done: self._landed(key, done))
        return task

    async def join(self, key: Key, start: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Wait for the flight for `key`; whoever is cancelled while waiting leaves it flying.

        Raises:
            OverloadedError: Too many flights are running, too many wait for this one, or the process is ending.

        """
        task = self.board(key, start)
        if self._waiting[key] >= self._most_waiters:
            raise OverloadedError("Too many requests wait for a token of this tenant.")
        self._waiting[key] += 1
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                # The flight was ended by aclose(), not the waiter.
                raise OverloadedError("The broker is shutting down.") from None
            raise
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]

    async def aclose(self, grace: float) -> None:
        """Let running flights land for `grace` seconds, then cancel what is left."""
        tasks = tuple(self._running.values())
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=grace)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=1.0)

    def _landed(self, key: Key, task: asyncio.Task[Result]) -> None:
        if self._running.get(key) is task:
            del self._running[key]
        if not task.cancelled():
            # Taken note of, so that a flight without waiters does not warn of an exception never retrieved.
            task.exception()
