"""Events of requests and their callers."""

from __future__ import annotations

from dataclasses import dataclass

from app.domain.decision import Decision


@dataclass(slots=True)
class RequestDecided:
    """A request was answered.

    Args:
        at: Unix time in seconds.
        request_id: The request's id, as in the answer.
        decision: What was decided.
        trace_id: The id of the request's trace, 32 hex digits. The tracer sets it, if there is one: it is the first
            listener.

    """

    at: float
    request_id: str
    decision: Decision
    trace_id: str | None = None
