"""Finds who received a token, by the beginning of its SHA-256 in the audit log."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from app.audit.lines import AuditLine
from app.domain.decision import VENDED

TOKEN_DIGITS = 16
"""Hex digits of a token's SHA-256 that the log keeps: 64 bits."""

MAX_RECEIVERS = 10_000
MAX_REQUEST_IDS = 20

_KEY = ("caller", "org", "credential", "endpoint", "tier")
_HEX = re.compile(r"[0-9a-fA-F]{16,64}")
_TIME = re.compile(rb'"time":"([0-9T:.Z-]{20,30})"')


def token_prefix(text: str) -> str:
    """The part of a SHA-256 that the log has, given 16 to 64 of its hex digits.

    Raises:
        ValueError: It is anything else.

    """
    if _HEX.fullmatch(text) is None:
        raise ValueError("must be the SHA-256 of the token: 64 hex digits, or at least the first 16 of them")
    return text[:TOKEN_DIGITS].lower()


@dataclass(slots=True)
class Receiver:
    """Who received the token, how, and when.

    Args:
        caller: The policy's name for it.
        org: The token's organisation.
        credential: The credential's short name.
        endpoint: The endpoint that it called.
        tier: Where the token came from.
        first: Time of the first answer, RFC 3339.
        last: Time of the last answer.
        count: Number of answers.
        request_ids: Those of the first `MAX_REQUEST_IDS`.

    """

    caller: str
    org: str
    credential: str
    endpoint: str
    tier: str
    first: str
    last: str
    count: int = 0
    request_ids: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Trace:
    """What was found.

    Args:
        receivers: All of them, in the order of the log; `MAX_RECEIVERS` at most.
        lines: Audit lines that were read.
        since: Time of the earliest line, RFC 3339; None if there was none.
        until: Time of the latest line.
        left_out: Answers to receivers beyond the bound.

    """

    receivers: list[Receiver]
    lines: int = 0
    since: str | None = None
    until: str | None = None
    left_out: int = 0


def trace(prefix: str, lines: Iterable[AuditLine]) -> Trace:
    """Find who received the token whose SHA-256 begins with `prefix`, of `TOKEN_DIGITS` digits."""
    found: dict[tuple[str, ...], Receiver] = {}
    result = Trace([])
    wanted = prefix.encode()
    for line in lines:
        time = _TIME.search(line.text)
        if time is None or b'"audit":' not in line.text:
            continue
        at = time[1].decode()
        result.lines += 1
        result.since = at if result.since is None else min(result.since, at)
        result.until = at if result.until is None else max(result.until, at)
        if wanted in line.text:
            _note(found, result, prefix, line)
    result.receivers = list(found.values())
    return result


def _note(found: dict[tuple[str, ...], Receiver], result: Trace, prefix: str, line: AuditLine) -> None:
    record = line.record()
    if record is None or record.get("token_sha256") != prefix or record.get("outcome") != VENDED:
        return
    who, org, credential, endpoint, tier = (str(record.get(name)) for name in _KEY)
    key = (who, org, credential, endpoint, tier)
    at = str(record.get("time"))
    receiver = found.get(key)
    if receiver is None:
        if len(found) >= MAX_RECEIVERS:
            result.left_out += 1
            return
        receiver = found[key] = Receiver(who, org, credential, endpoint, tier, at, at)
    receiver.count += 1
    receiver.first, receiver.last = min(receiver.first, at), max(receiver.last, at)
    if len(receiver.request_ids) < MAX_REQUEST_IDS:
        receiver.request_ids.append(str(record.get("request_id")))
