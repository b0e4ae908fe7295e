"""Notifies all listeners of every event."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from typing_extensions import override

from app.domain.events import Event, RequestDecided
from app.ports import EventSink, RequestSink


class EventStream(RequestSink):
    """Tells every listener of every event. A listener that fails hurts neither the others nor the request."""

    def __init__(self) -> None:
        self._listeners: tuple[EventSink, ...] = ()
        self._of_requests: tuple[RequestSink, ...] = ()

    def add(self, listener: RequestSink) -> None:
        """Tell `listener` of all events from now on. Each call costs every request a little."""
        self._listeners = (*self._listeners, listener)
        self._of_requests = (*self._of_requests, listener)

    def add_without_requests(self, listener: EventSink) -> None:
        """Tell `listener` of all events but those of requests from now on."""
        self._listeners = (*self._listeners, listener)

    @override
    def emit(self, event: Event) -> None:
        """Tell all listeners."""
        for listener in self._of_requests if type(event) is RequestDecided else self._listeners:
            try:
                listener.emit(event)
            except Exception as error:  # noqa: BLE001  # an event is never worth a request
                _report(error)

    @override
    def emit_granted(self, events: Sequence[RequestDecided]) -> None:
        for listener in self._of_requests:
            try:
                listener.emit_granted(events)
            except Exception as error:  # noqa: BLE001  # as above
                _report(error)


def _report(error: Exception) -> None:
    logging.getLogger(__name__).error("listener failed", extra={"error": type(error).__name__})
