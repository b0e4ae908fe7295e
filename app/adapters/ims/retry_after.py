"""The ``Retry-After`` header (RFC 9110 section 10.2.3), read from a sender that may write anything."""

from __future__ import annotations

import re

from app.adapters.ims.http_date import http_date
from app.domain.cache_entry import MAX_HOLD

DEFAULT_DELAY = 5.0
MIN_DELAY = 1.0
"""Seconds. A delay of 0 is an invitation to hammer, which would only be answered with another."""

_SECONDS = re.compile(r"[0-9]+")


def retry_after(value: str | None, now: float) -> float:
    """How long to wait.

    Args:
        value: The header, or None if absent.
        now: Unix time in seconds, which an HTTP date is compared with.

    Returns:
        Seconds, from 1 to 3600; 5 for nonsense, for a time that has passed, and if there is no header.

    """
    if value is None:
        return DEFAULT_DELAY
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return MAX_HOLD if len(value) > 9 else min(max(float(value), MIN_DELAY), MAX_HOLD)
    at = http_date(value)
    if at is None or at < now:
        return DEFAULT_DELAY
    return min(max(at - now, MIN_DELAY), MAX_HOLD)
