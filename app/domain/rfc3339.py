"""Times as text, in the form of RFC 3339."""

from __future__ import annotations

import re
from datetime import UTC, datetime

RFC3339_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})"
"""The form of a time with its offset from UTC. The schema of the policy publishes it, too."""

_TIME = re.compile(RFC3339_TIME)


def rfc3339(at: float) -> str:
    """Unix time in seconds as RFC 3339 in UTC, whole seconds, rounded down."""
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_rfc3339(text: str) -> float:
    """A time such as ``2027-01-31T00:00:00Z`` as Unix time in seconds.

    Raises:
        ValueError: It has another form, no offset from UTC, or names a time that does not exist.

    """
    if _TIME.fullmatch(text) is None:
        raise ValueError("must be a time in the form of RFC 3339, such as 2027-01-31T00:00:00Z")
    return datetime.fromisoformat(text).timestamp()
