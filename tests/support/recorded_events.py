"""An `EventSink` that remembers."""

from __future__ import annotations

from app.domain.events import DependencyCalled, Event


class RecordedEvents:
    """All events in the order they came."""

    def __init__(self) -> None:
        self.all: list[Event] = []

    def emit(self, event: Event) -> None:
        """Remember `event`."""
        self.all.append(event)

    def calls(self, operation: str) -> list[str]:
        """The outcomes of the calls of outside systems with this operation."""
        return [e.outcome for e in self.all if isinstance(e, DependencyCalled) and e.operation == operation]
