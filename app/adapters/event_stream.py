"""Notifies all listeners of every event."""

from __future__ import annotations

import logging

from app.domain.events import Event
from app.ports import EventSink


class EventStream:
    """Tells every listener of every event. A listener that fails hurts neither the others nor the request."""

    def __init__(self) -> None:
        self._listeners: tuple[EventSink, ...] = ()

    def add(self, listener: EventSink) -> None:
        """Tell `listener` from now on."""
        self._listeners = (*self._listeners, listener)

    def emit(self, event: Event) -> None:
        """Tell all listeners."""
        for listener in self._listeners:
            try:
                listener.emit(event)
            except Exception as error:  # noqa: BLE001  # an event is never worth a request
                logging.getLogger(__name__).error("listener failed", extra={"error": type(error).__name__})
