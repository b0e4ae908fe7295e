"""The header ``traceparent`` (W3C Trace Context section 3.2); ``tracestate`` and ``baggage`` are not read, nor sent."""

from __future__ import annotations

import re
from collections.abc import Iterable

from app.process.correlation import TracePoint

_MAX_BYTES = 128
"""Later versions may be longer than version 00's 55 bytes, but not without end."""

_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?")
_SAMPLED = 0x01


def parse_traceparent(headers: Iterable[tuple[bytes, bytes]]) -> TracePoint | None:
    """The span that the request belongs to; None if there is no such header, a malformed one, or two."""
    found: bytes | None = None
    for name, value in headers:
        if name == b"traceparent":
            if found is not None:
                return None
            found = value
    if found is None or len(found) > _MAX_BYTES:
        return None
    match = _TRACEPARENT.fullmatch(found.strip(b" \t"))
    if match is None:
        return None
    version, trace, span, flags, more = match.groups()
    # Version ff is forbidden, and version 00 ends here.
    if version == b"ff" or (version == b"00" and more is not None):
        return None
    point = TracePoint(int(trace, 16), int(span, 16), bool(int(flags, 16) & _SAMPLED))
    return point if point.trace and point.span else None


def traceparent(point: TracePoint) -> str:
    """The header's value that makes the receiver a child of `point`."""
    return f"00-{point.trace_id}-{point.span_id}-{int(point.sampled):02x}"
