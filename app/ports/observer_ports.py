"""Ports to what listens: events and spans."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from app.domain.events import Event, RequestDecided
from app.domain.names import CredentialRef, TokenKey

Result = TypeVar("Result")


class EventSink(Protocol):
    """Listens to events. It never blocks and never raises."""

    def emit(self, event: Event) -> None:
        """Note `event`."""
        ...


class RequestSink(EventSink, Protocol):
    """Listens to the events of requests, too."""

    def emit_granted(self, events: Sequence[RequestDecided]) -> None:
        """Note that these requests were granted, in this order. A listener overrides it if that is quicker at once."""
        for event in events:
            self.emit(event)


class Tracer(Protocol):
    """Draws spans around a vend. It never blocks, and raises nothing of its own.

    It exists for what events cannot say: what encloses what, and who waits for whom.
    """

    def vend(self, ref: CredentialRef) -> AbstractContextManager[None]:
        """Encloses one request's search for a token of `ref`."""
        ...

    def call(
        self, key: TokenKey, start: Callable[[], Coroutine[Any, Any, Result]], *, in_background: bool
    ) -> Coroutine[Any, Any, Result]:
        """The call `start()`, enclosed. It belongs to the request that starts it, or to none if in the background."""
        ...

    def joins(self, key: TokenKey) -> None:
        """Note that the current request waits for a call that another request started."""
        ...
