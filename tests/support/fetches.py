"""The event recorder that lets a test wait for the fetch of an issuer's keys."""

from __future__ import annotations

import asyncio

from typing_extensions import override

from app.domain.events import DependencyCalled, Event
from tests.support.recorded_events import RecordedEvents

DEADLINE_SECONDS = 10.0


class Fetches(RecordedEvents):
    """Keeps all events, and counts those of the dependency ``jwks``."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = asyncio.Event()

    @override
    def emit(self, event: Event) -> None:
        """Keep `event`, and wake the tasks that wait for it."""
        super().emit(event)
        self._changed.set()

    @property
    @override
    def outcomes(self) -> list[str]:
        """The outcomes of the fetches so far."""
        return [call.outcome for call in self.of(DependencyCalled)]

    async def reach(self, count: int) -> None:
        """Wait until `count` fetches have ended, and the tasks that waited for the last one have continued."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(self.outcomes) < count:
                self._changed.clear()
                await self._changed.wait()
        for _ in range(5):
            await asyncio.sleep(0)
