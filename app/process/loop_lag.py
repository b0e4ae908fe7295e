"""The lag of the event loop: how late it runs callbacks that are due. Whatever blocks the loop shows here first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

PERIOD_SECONDS = 0.1
WINDOW_SECONDS = 30.0


class LoopLag:
    """Sleeps repeatedly, and records how much longer than asked each sleep took.

    Args:
        steady: A clock that is never stepped, in seconds.
        sleep: Sleeps for some seconds.

    """

    def __init__(
        self,
        steady: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._steady = steady
        self._sleep = sleep
        self._began = steady()
        self._last, self._present = 0.0, 0.0

    async def watch(self) -> None:
        """Measure until cancelled."""
        while True:
            due = self._steady() + PERIOD_SECONDS
            await self._sleep(PERIOD_SECONDS)
            self._note(self._steady(), max(0.0, self._steady() - due))

    def longest(self) -> float:
        """The longest delay of the last 30 to 60 s, in seconds."""
        return max(self._last, self._present)

    def _note(self, now: float, delay: float) -> None:
        if now - self._began >= WINDOW_SECONDS:
            self._began, self._last, self._present = now, self._present, 0.0
        self._present = max(self._present, delay)
