"""Bounds the log lines of refused callers, because anyone can cause a refusal."""

from __future__ import annotations

from collections import Counter

from app.domain.events import CallerRefused
from app.domain.refusal_reason import RefusalReason

_SECONDS = 60


class RefusalQuota:
    """At most `limit` lines per reason and minute, and one per subject; what was left out is counted.

    Refusals of JWTs with a good signature have a quota of their own: a flood of forged ones cannot hide them.

    Args:
        limit: Lines per minute for each reason, of either sort.

    """

    def __init__(self, limit: int = 10) -> None:
        self._limit = limit
        self._minute = -1
        self._logged: Counter[tuple[RefusalReason, bool]] = Counter()
        self._subjects: set[tuple[RefusalReason, str | None, str | None]] = set()
        self._left_out: Counter[tuple[RefusalReason, bool]] = Counter()

    def take(self, event: CallerRefused) -> int | None:
        """How many lines of the same sort were left out before this one, or None to leave this one out, too."""
        minute = int(event.at // _SECONDS)
        if minute != self._minute:
            self._minute = minute
            self._logged.clear()
            self._subjects.clear()
        signed = event.issuer is not None
        sort, subject = (event.reason, signed), (event.reason, event.issuer, event.subject)
        if self._logged[sort] >= self._limit or (signed and subject in self._subjects):
            self._left_out[sort] += 1
            return None
        self._logged[sort] += 1
        self._subjects.add(subject)
        return self._left_out.pop(sort, 0)
