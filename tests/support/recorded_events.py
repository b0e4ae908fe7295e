"""The `EventSink` of the tests: it keeps all events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from app.domain.events import DependencyCalled, Event, RequestDecided

E = TypeVar("E", bound=Event)


class RecordedEvents:
    """All events in the order in which they were emitted."""

    def __init__(self) -> None:
        self.all: list[Event] = []

    def emit(self, event: Event) -> None:
        """Keep `event`."""
        self.all.append(event)

    def emit_granted(self, events: Iterable[RequestDecided]) -> None:
        """Keep each one."""
        for event in events:
            self.emit(event)

    def of(self, kind: type[E]) -> list[E]:
        """All events of one class, in order."""
        return [event for event in self.all if isinstance(event, kind)]

    def calls(self, operation: str) -> list[str]:
        """The outcomes of the calls to outside systems with this operation."""
        return [call.outcome for call in self.of(DependencyCalled) if call.operation == operation]

    @property
    def outcomes(self) -> list[str]:
        """What was decided on each request, in order."""
        return [event.decision.outcome for event in self.of(RequestDecided)]
