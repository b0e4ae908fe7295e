"""HTTP dates (RFC 9110 section 5.6.7), read from a sender that may write anything."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime


def http_date(value: str) -> float | None:
    """A date as Unix time in seconds, or None if it is not one."""
    # A bare number with a sign reads as a time zone to the parser of e-mail dates.
    if not value[:3].isalpha():
        return None
    try:
        at = parsedate_to_datetime(value)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def seconds_ahead(date: str | None, sent: float, received: float) -> float | None:
    """By how much our clock is ahead of the sender's, to about half a second and half the round trip.

    Args:
        date: The ``Date`` header, or None if absent. It has whole seconds, so half of one is added.
        sent: Unix time in seconds of our clock when the request began; the sender wrote the date between the two.
        received: The same, when the head of the answer arrived.

    Returns:
        Seconds, negative if our clock is behind; None if the header has no time.

    """
    theirs = None if date is None else http_date(date.strip())
    return None if theirs is None else (sent + received) / 2 - (theirs + 0.5)
