"""Reads from an audit log when the API keys and rules of a policy were used."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from app.audit.lines import AuditLine
from app.domain.decision import DONE, VENDED
from app.domain.policy_usage import PolicyUsage, Use

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
"""The form in which the broker writes times, so that they can be compared as text."""


@dataclass(slots=True)
class LogPeriod:
    """The lines that were read.

    Args:
        lines: Number of lines.
        since: Time of the earliest, RFC 3339; None if there is none.
        until: Time of the latest line.

    """

    lines: int = 0
    since: str | None = None
    until: str | None = None


def note_usage(lines: Iterable[AuditLine], usage: PolicyUsage) -> LogPeriod:
    """Note every request of a log in `usage`; the order of the lines does not matter."""
    period = LogPeriod()
    for line in lines:
        record = line.record() if b'"audit":' in line.text else None
        time = None if record is None else record.get("time")
        if record is None or not isinstance(time, str) or _TIME.fullmatch(time) is None:
            continue
        period.lines += 1
        period.since = time if period.since is None else min(period.since, time)
        period.until = time if period.until is None else max(period.until, time)
        use = _use(record)
        if use is not None:
            usage.note(use, time)
    return period


def _use(record: dict[str, object]) -> Use | None:
    def text(name: str) -> str | None:
        value = record.get(name)
        return value if isinstance(value, str) else None

    caller, action, audit_rule = text("caller"), text("action"), text("audit_rule")
    is_used = text("outcome") in {VENDED, DONE} or audit_rule is not None
    if caller is None or action is None or not is_used:
        return None
    scopes = text("scope") or ""
    return Use(caller, text("api_key_sha256"), text("org"), text("credential"), action, scopes, audit_rule)
