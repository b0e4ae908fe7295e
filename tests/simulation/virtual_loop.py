"""An asyncio event loop on virtual time: a sleep takes no time, and the same seed gives the same run."""

from __future__ import annotations

import asyncio
import contextvars
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any, TypeVar, TypeVarTuple, Unpack

from typing_extensions import override

_Result = TypeVar("_Result")
_Args = TypeVarTuple("_Args")


class DeadlockError(Exception):
    """Every task waits for something that will never happen."""


class _Callback:
    """As `asyncio.Handle`, but cheaper: it knows neither its loop nor a debug mode."""

    __slots__ = ("_cancelled", "args", "callback", "context")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], context: contextvars.Context) -> None:
        self.callback = callback
        self.args = args
        self.context = context
        self._cancelled = False

    def cancel(self) -> None:
        """Never run it, and free what it refers to."""
        self._cancelled = True
        self.callback, self.args = _nothing, ()

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._cancelled


def _nothing() -> None:
    """What a cancelled callback does."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop without sockets. When no callback is ready, its clock jumps to the next timer.

    Tasks, timeouts and cancellation are those of the standard library. Only the queue of callbacks and the timers
    are its own: nothing here waits for the system, and a simulation spends half of its time in them.
    """

    _stopping: bool

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        # A timer fires up to this much early. Large enough for the rounding of a year of seconds.
        self._clock_resolution = 1e-6
        self._ready: deque[_Callback] = deque()
        self._timers: list[tuple[float, int, _Callback]] = []
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
    ) -> _Callback:
        handle = _Callback(callback, args, contextvars.copy_context() if context is None else context)
        self._ready.append(handle)
        return handle

    @override
    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[[Unpack[_Args]], object],
        *args: *_Args,
        context: contextvars.Context | None = None,
    ) -> _Callback:
        timer = _Callback(callback, args, contextvars.copy_context() if context is None else context)
        heapq.heappush(self._timers, (self._now + delay, next(self._numbers), timer))
        return timer

    @override
    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[[Unpack[_Args]], object],
        *args: *_Args,
        context: contextvars.Context | None = None,
    ) -> _Callback:
        timer = _Callback(callback, args, contextvars.copy_context() if context is None else context)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def _run_once(self) -> None:
        """Run the callbacks that are ready, or else those of the next timer, until the loop is stopped."""
        ready, timers, pop = self._ready, self._timers, heapq.heappop
        while True:
            if not ready and not self._stopping:
                while timers and timers[0][2]._cancelled:
                    pop(timers)
                if not timers:
                    raise DeadlockError
                self._now = max(self._now, timers[0][0])
            end = self._now + self._clock_resolution
            while timers and timers[0][0] < end:
                ready.append(pop(timers)[2])
            for _ in range(len(ready)):
                handle = ready.popleft()
                if handle._cancelled:
                    continue
                try:
                    handle.context.run(handle.callback, *handle.args)
                except Exception as error:  # noqa: BLE001  # as asyncio does: `run_virtually` reports it at the end
                    message = f"Exception in callback {handle.callback!r}"
                    self.call_exception_handler({"message": message, "exception": error})
            if self._stopping:
                return

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
        result = loop.run_until_complete(main)
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        assert not loop.unexpected, loop.unexpected
        return result
    finally:
        loop.close()
