"""The request that the running code serves: its id, and its trace if it has one. Tasks inherit both when they start."""

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
"""The id of the request that is being answered on the long path or refused, or that started the running task."""

TRACE_POINT: ContextVar[TracePoint | None] = ContextVar("trace_point", default=None)
"""The span that encloses the running code; None if nothing is traced."""
