"""A deadline that counts only time in which the event loop ran on time.

A burst of a thousand requests keeps the loop busy for longer than Redis may take to answer. By the wall clock every
call would then be late, although the answers have long been there, unread: the replica would take a healthy Redis for
a dead one and exchange on its own, just when sharing matters most. So the time is counted in short ticks, and a tick
that comes late, because the loop was busy, does not count.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

TICK_SECONDS = 0.05
LATE_SECONDS = 0.01
"""A tick that is as late as this does not count."""

MAX_WALL_SECONDS = 3.0
"""By the wall clock, however busy the loop is."""


@asynccontextmanager
async def responsive_deadline(seconds: float) -> AsyncIterator[None]:
    """Cancel what runs inside after `seconds` of a loop that runs on time; `MAX_WALL_SECONDS` in any case.

    Raises:
        TimeoutError: It took too long.

    """
    async with asyncio.timeout(MAX_WALL_SECONDS) as limit:
        ticks = _Ticks(limit, seconds)
        try:
            yield
        finally:
            ticks.stop()


class _Ticks:
    """Counts `seconds` down, then makes `limit` expire."""

    def __init__(self, limit: asyncio.Timeout, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit = limit
        self._left = seconds
        self._next = self._begin()

    def stop(self) -> None:
        self._next.cancel()

    def _begin(self) -> asyncio.TimerHandle:
        length = min(TICK_SECONDS, self._left)
        due = self._loop.time() + length
        return self._loop.call_at(due, self._end, due, length)

    def _end(self, due: float, length: float) -> None:
        if self._loop.time() - due < LATE_SECONDS:
            self._left -= length
        if self._left > 0:
            self._next = self._begin()
        else:
            self._limit.reschedule(self._loop.time())
