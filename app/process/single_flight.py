"""Single flight: callers that want the same thing at the same time share one running call.

Cancelling one waiter does not affect the others, because the task of the call belongs to `SingleFlight`, not to the
first caller. Measured on the naive form, where followers await the leader: cancelling one of a hundred failed them all.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from app.domain.dependency_errors import OverloadedError

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


class SingleFlight(Generic[Key, Result]):
    """A registry of running calls, one per key at most.

    Args:
        limit: The number of calls that may run at once; one more is refused.
        waiters: The number of callers that may wait for one call, so that a hanging call does not take all capacity.
        name: The name of the tasks, for a debugger.
        too_many_calls: The error message if too many calls are running.
        too_many_waiters: The error message if too many callers wait for one call.
        group: The group of a key.
        group_limit: The number of calls of one group that may run at once; one more is refused.
        too_many_in_group: The error message if too many calls of one group are running.

    """

    def __init__(
        self,
        limit: float = math.inf,
        waiters: float = math.inf,
        *,
        name: str = "single-flight",
        too_many_calls: str = "Too many calls are running.",
        too_many_waiters: str = "Too many requests wait for the same call.",
        group: Callable[[Key], Hashable] = lambda key: key,
        group_limit: float = math.inf,
        too_many_in_group: str = "Too many calls of this kind are running.",
    ) -> None:
        self._limit = limit
        self._most_waiters = waiters
        self._name = name
        self._too_many_calls = too_many_calls
        self._too_many_waiters = too_many_waiters
        self._group = group
        self._group_limit = group_limit
        self._too_many_in_group = too_many_in_group
        self._in_group: Counter[Hashable] = Counter()
        self._waiting: Counter[Key] = Counter()
        self._running: dict[Key, asyncio.Task[Result]] = {}

    def __len__(self) -> int:
        return len(self._running)

    def __contains__(self, key: Key) -> bool:
        return self.running(key) is not None

    @property
    def waiting(self) -> int:
        """The number of callers that wait for a call."""
        return sum(self._waiting.values())

    def running(self, key: Key) -> asyncio.Task[Result] | None:
        """The running call for `key`, if any.

        A call that has just finished is not running, even if it is still registered: its result may already have been
        purged.
        """
        task = self._running.get(key)
        return None if task is None or task.done() else task

    def start(self, key: Key, call: Callable[[], Coroutine[Any, Any, Result]]) -> asyncio.Task[Result]:
        """The running call for `key`, or a new one of `call()`. To wait for it without owning it, use `join`.

        Raises:
            OverloadedError: Too many calls are running.

        """
        task = self.running(key)
        if task is not None:
            return task
        if key not in self._running and len(self._running) >= self._limit:
            raise OverloadedError(self._too_many_calls)
        group = self._group(key)
        if self._in_group[group] >= self._group_limit:
            raise OverloadedError(self._too_many_in_group)
        task = asyncio.create_task(call(), name=self._name)
        self._running[key] = task
        self._in_group[group] += 1
        task.add_done_callback(lambda done: self._finished(key, done))
        return task

    async def join(self, key: Key, call: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Wait for the running call for `key`, or for a new one; a waiter that is cancelled leaves it running.

        Raises:
            OverloadedError: Too many calls are running, too many wait for this one, or it was ended by `cancel`.

        """
        task = self.start(key, call)
        if self._waiting[key] >= self._most_waiters:
            raise OverloadedError(self._too_many_waiters)
        self._waiting[key] += 1
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled() and not _is_cancelled():
                raise OverloadedError("The broker is shutting down.") from None
            raise
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]
            del task  # It has the error, and the traceback of the error has this frame: a cycle.

    def cancel(self) -> tuple[asyncio.Task[Result], ...]:
        """Cancel all running calls; returns those that are ending, for the caller to wait for."""
        ending = tuple(task for task in self._running.values() if not task.done())
        for task in ending:
            task.cancel()
        return ending

    async def aclose(self, grace: float) -> None:
        """Let running calls finish within `grace` seconds, then cancel the others."""
        if self._running:
            await asyncio.wait(self._running.values(), timeout=grace)
        if late := self.cancel():
            await asyncio.wait(late, timeout=1.0)

    def _finished(self, key: Key, task: asyncio.Task[Result]) -> None:
        if self._running.get(key) is task:
            del self._running[key]
        group = self._group(key)
        self._in_group[group] -= 1
        if not self._in_group[group]:
            del self._in_group[group]
        if not task.cancelled():
            # Retrieved, so that asyncio does not report the exception of a call that no one waits for.
            task.exception()


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
