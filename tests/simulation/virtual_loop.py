"""An asyncio event loop on virtual time: a sleep takes no time, and the same seed gives the same run."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any, TypeVar, TypeVarTuple, Unpack

from typing_extensions import override

_Result = TypeVar("_Result")
_Args = TypeVarTuple("_Args")
_Ready = tuple[contextvars.Context, Callable[..., object], tuple[Any, ...]]


class DeadlockError(Exception):
    """Every task waits for something that will never happen."""


class _Timer(list[Any]):
    """When, a number that tells equal times apart, the callback or None, its arguments, and its context.

    It does the work of `asyncio.TimerHandle`. It is a list because `heapq` compares lists without calling Python.
    """

    __slots__ = ()

    def cancel(self) -> None:
        """Never run it, and free what it refers to."""
        self[2], self[3] = None, ()

    def run(self) -> None:
        """Run it, unless it was cancelled while others that were ready ran."""
        if self[2] is not None:
            self[2](*self[3])


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop without sockets. When no callback is ready, its clock jumps to the next timer.

    Futures, tasks, timeouts and cancellation are those of the standard library. Only the queue of callbacks and the
    timers are its own: nothing here waits for the system, and a simulation spends much of its time in them.
    """

    _stopping: bool

    get_debug = staticmethod(bool)
    """False. Each future and each task asks for it; this answers without a call of Python."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._ready: deque[_Ready] = deque()
        self._timers: list[_Timer] = []
        self._numbers = count()
        self.unexpected: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _loop, context: self.unexpected.append(context))

    @override
    def time(self) -> float:
        return self._now

    @override
    def call_soon(  # type: ignore[override]
        self,
        callback: Callable[[Unpack[_Args]], object],
        *args: *_Args,
        context: contextvars.Context | None = None,
    ) -> _Timer | None:
        if context is not None:
            # Tasks and futures give their context, and do not look at the handle.
            self._ready.append((context, callback, args))
            return None
        context = contextvars.copy_context()
        handle = _Timer((self._now, 0, callback, args, context))
        self._ready.append((context, handle.run, ()))
        return handle

    @override
    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[[Unpack[_Args]], object],
        *args: *_Args,
        context: contextvars.Context | None = None,
    ) -> _Timer:
        context = contextvars.copy_context() if context is None else context
        timer = _Timer((self._now + delay, next(self._numbers), callback, args, context))
        heapq.heappush(self._timers, timer)
        return timer

    @override
    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[[Unpack[_Args]], object],
        *args: *_Args,
        context: contextvars.Context | None = None,
    ) -> _Timer:
        context = contextvars.copy_context() if context is None else context
        timer = _Timer((when, next(self._numbers), callback, args, context))
        heapq.heappush(self._timers, timer)
        return timer

    def cancel_tasks(self) -> None:
        """Cancel the tasks that still run, and wait for their end."""
        while left := asyncio.all_tasks(self):
            for task in left:
                task.cancel()
            self.run_until_complete(asyncio.gather(*left, return_exceptions=True))

    def _run_once(self) -> None:
        """Run the callbacks that are ready, and then the next timer, until the loop is stopped."""
        ready, timers, pop = self._ready, self._timers, heapq.heappop
        while not self._stopping:
            if ready:
                context, callback, args = ready.popleft()
            elif timers:
                when, _, callback, args, context = pop(timers)
                if callback is None:
                    continue
                self._now = max(self._now, when)
            else:
                raise DeadlockError
            try:
                context.run(callback, *args)
            except Exception as error:  # noqa: BLE001  # as asyncio does: `run_virtually` reports it at the end
                self.call_exception_handler({"message": f"Exception in callback {callback!r}", "exception": error})

    def _process_events(self, event_list: list[Any]) -> None:
        """There are no sockets, so there are no events."""

    def _write_to_self(self) -> None:
        """There is no other thread to wake this one."""


def run_virtually(main: Coroutine[Any, Any, _Result]) -> _Result:
    """Run `main` to its end on a new loop, then cancel what is left.

    Raises:
        DeadlockError: `main` waits for something that will never happen.
        AssertionError: A task failed and no one looked at its exception.

    """
    loop = VirtualLoop()
    try:
        try:
            result = loop.run_until_complete(main)
        except BaseException:
            # A pending task that is only garbage-collected would run its `finally` blocks without a loop.
            with contextlib.suppress(DeadlockError):  # The first error counts.
                loop.cancel_tasks()
            raise
        loop.cancel_tasks()
        assert not loop.unexpected, loop.unexpected
        return result
    finally:
        loop.close()
