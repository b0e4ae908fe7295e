"""Observes a call to an external system: times it, names its outcome, emits the event."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType

from app.domain.dependency import Dependency
from app.domain.events import DependencyCalled
from app.ports import EventSink


class ObservedCall:
    """A context manager around one call; it emits one `DependencyCalled`, however the call ends.

    Args:
        sink: Takes the event.
        dependency: The system.
        operation: The operation; a constant of the code.
        outcome_of: The label of a failure. A cancelled call is always ``cancelled``.
        reason_of: A sentence on a failure for the operator, without any value; or None.
        monotonic: A clock in seconds that never steps.
        only_failures: Whether a call that succeeds or is cancelled emits nothing.
        elsewhere: As of `DependencyCalled`.

    Attributes:
        outcome: ``ok``, ``cancelled`` or the failure's label, after the call.
        seconds: How long the call took, after the call.

    """

    def __init__(
        self,
        sink: EventSink,
        dependency: Dependency,
        operation: str,
        outcome_of: Callable[[BaseException], str],
        *,
        reason_of: Callable[[BaseException], str | None] = lambda _: None,
        monotonic: Callable[[], float] = time.monotonic,
        only_failures: bool = False,
        elsewhere: bool = False,
    ) -> None:
        self._sink = sink
        self._dependency = dependency
        self._operation = operation
        self._outcome_of = outcome_of
        self._reason_of = reason_of
        self._monotonic = monotonic
        self._only_failures = only_failures
        self._elsewhere = elsewhere
        self._began = 0.0
        self.outcome = "ok"
        self.seconds = 0.0

    def __enter__(self) -> ObservedCall:
        """Start the clock."""
        self._began = self._monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Emit the event; an exception is not suppressed."""
        self.seconds = self._monotonic() - self._began
        reason: str | None = None
        if isinstance(error, asyncio.CancelledError):
            self.outcome = "cancelled"
        elif error is not None:
            self.outcome = self._outcome_of(error)
            reason = self._reason_of(error)
        if not (self._only_failures and self.outcome in {"ok", "cancelled"}):
            called = (self._dependency, self._operation, self.outcome, self.seconds, reason)
            self._sink.emit(DependencyCalled(*called, elsewhere=True if self._elsewhere else None))
