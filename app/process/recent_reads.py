"""Reads that many callers share: one runs at a time for a key, and its result serves for a moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from cachetools import LRUCache

from app.process.single_flight import SingleFlight

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")

RECENT_SECONDS = 2.0
"""How old a result may be, counted from the start of its read: 10,000 callers cost at most 30 reads a minute."""

MAX_RECENT = 1_000
"""The number of results that are kept. One more replaces the one that was used longest ago."""


class RecentReads(Generic[Key, Result]):
    """Reads by key. An error is never kept.

    Args:
        read: Reads what belongs to a key.
        seconds: How long a result is recent.
        monotonic: A clock in seconds that never steps.

    """

    def __init__(
        self,
        read: Callable[[Key], Coroutine[Any, Any, Result]],
        *,
        seconds: float = RECENT_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._seconds = seconds
        self._monotonic = monotonic
        self._flights = SingleFlight[Key, Result](name="recent-read")
        self._kept = LRUCache[Key, tuple[float, Result]](MAX_RECENT)

    async def get(self, key: Key, *, recent: bool) -> Result:
        """What belongs to `key`.

        Args:
            key: The key.
            recent: Whether a result will do whose read began before this call. Otherwise a read that is running is
                waited for, and the next one counts, which all such callers share.

        """
        if recent:
            kept = self._kept.get(key)
            if kept is not None and self._monotonic() - kept[0] < self._seconds:
                return kept[1]
        elif (running := self._flights.running(key)) is not None:
            # It began earlier, and may have seen what was there before. Its result or error is not this caller's.
            await asyncio.wait([running])
        return await self._flights.join(key, lambda: self._read_and_keep(key))

    async def _read_and_keep(self, key: Key) -> Result:
        began = self._monotonic()
        self._kept.pop(key, None)
        result = await self._read(key)
        self._kept[key] = (began, result)
        return result
