"""Time that passes when a test says so: a clock, and a sleep that waits for that clock."""

from __future__ import annotations

import asyncio


class ManualTime:
    """A clock that only `advance` moves; `sleep` ends when the clock has passed its end.

    Args:
        start: Seconds at which it begins.

    """

    def __init__(self, start: float = 1_000_000.0) -> None:
        self._now = start
        self._sleepers: list[tuple[float, asyncio.Event]] = []
        self._arrived = asyncio.Event()

    def now(self) -> float:
        """Seconds."""
        return self._now

    @property
    def waits(self) -> list[float]:
        """For how many more seconds each present sleeper sleeps, sorted."""
        return sorted(end - self._now for end, woken in self._sleepers if not woken.is_set())

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock was advanced by `seconds`."""
        sleeper = (self._now + seconds, asyncio.Event())
        self._sleepers.append(sleeper)
        self._arrived.set()
        try:
            await sleeper[1].wait()
        finally:
            self._sleepers.remove(sleeper)

    async def asleep(self, sleepers: int = 1) -> None:
        """Wait until as many tasks sleep; then an `advance` cannot come too early for them."""
        async with asyncio.timeout(10):
            while len(self.waits) < sleepers:
                self._arrived.clear()
                await self._arrived.wait()

    def advance(self, seconds: float) -> None:
        """Move the clock, and wake every task that slept long enough."""
        self._now += seconds
        for end, woken in self._sleepers:
            if end <= self._now:
                woken.set()
