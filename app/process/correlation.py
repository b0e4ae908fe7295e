"""What is being worked for: the request's id, and its trace where it has one. Tasks inherit it from who began them."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TracePoint:
    """A span of a trace, by its ids (W3C Trace Context section 3.2.2).

    Args:
        trace: The trace's id, 128 bits, not 0.
        span: The span's id, 64 bits, not 0.
        sampled: Whether the trace is recorded.

    """

    trace: int
    span: int
    sampled: bool

    @property
    def trace_id(self) -> str:
        """32 lower-case hex digits."""
        return f"{self.trace:032x}"

    @property
    def span_id(self) -> str:
        """16 lower-case hex digits."""
        return f"{self.span:016x}"


REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request on the long way that is answered, or that began what runs."""

TRACE_POINT: ContextVar[TracePoint | None] = ContextVar("trace_point", default=None)
"""The span that encloses what runs; None where nothing is traced."""
