"""A deadline that counts only time in which the event loop ran on time.

A burst of a thousand requests keeps the loop busy for longer than Redis may take to answer. By the wall clock every
call would then be late, although the answers have long been there, unread: the replica would take a healthy Redis for
a dead one and exchange on its own, just when sharing matters most. So the time is counted in short ticks, and a tick
that comes late, because the loop was busy, does not count.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

TICK_SECONDS = 0.05
LATE_SECONDS = 0.01
"""A tick that is as late as this does not count."""

MAX_WALL_SECONDS = 3.0
"""By the wall clock, however busy the loop is; noticed at the next tick."""


class ResponsiveDeadline:
    """Cancels what runs inside after some time of a loop that runs on time; `MAX_WALL_SECONDS` in any case.

    Args:
        seconds: The time.

    Raises:
        TimeoutError: It took too long.

    """

    # Not an `asynccontextmanager`: that costs a call as much time as all the rest here.
    __slots__ = ("_began", "_left", "_limit", "_loop", "_next")

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._loop = asyncio.get_running_loop()
        self._limit = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        """Start the clock."""
        await self._limit.__aenter__()
        self._began = self._loop.time()
        self._begin(self._began)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self._next.cancel()
        await self._limit.__aexit__(kind, error, trace)

    def _begin(self, now: float) -> None:
        length = min(TICK_SECONDS, self._left)
        self._next = self._loop.call_at(now + length, self._end, now + length, length)

    def _end(self, due: float, length: float) -> None:
        now = self._loop.time()
        if now - due < LATE_SECONDS:
            self._left -= length
        if self._left > 0 and now - self._began < MAX_WALL_SECONDS:
            self._begin(now)
        else:
            self._limit.reschedule(now)
