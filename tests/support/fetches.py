"""An event sink that remembers the fetches of keys, and lets a test wait for one."""

from __future__ import annotations

import asyncio

from app.domain.events import DependencyCalled, Event

PATIENCE = 10.0


class Fetches:
    """Records every event; counts those of the dependency ``jwks``."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._changed = asyncio.Event()

    def emit(self, event: Event) -> None:
        """As `EventSink.emit`."""
        self.events.append(event)
        self._changed.set()

    @property
    def outcomes(self) -> list[str]:
        """The outcomes of the fetches so far."""
        return [event.outcome for event in self.events if isinstance(event, DependencyCalled)]

    async def reach(self, count: int) -> None:
        """Wait until `count` fetches have ended, and whoever waited for the last one went on."""
        async with asyncio.timeout(PATIENCE):
            while len(self.outcomes) < count:
                self._changed.clear()
                await self._changed.wait()
        for _ in range(5):
            await asyncio.sleep(0)
