"""The ends of rules and API keys: what a policy allows at one moment."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace

from app.domain.policy import Caller, Policy, Rule
from app.domain.rfc3339 import rfc3339


def next_end(policy: Policy, now: float) -> float:
    """The earliest `not_after` that is later than `now`; infinite if there is none. Both are Unix time in seconds."""
    position = bisect_right(policy.ends, now)
    return policy.ends[position] if position < len(policy.ends) else math.inf


def without_ended(policy: Policy, now: float) -> Policy:
    """The policy without the rules and API keys that have ended; the same object if none has.

    Args:
        policy: The policy as written in the file.
        now: Unix time in seconds.

    """
    if not policy.ends or policy.ends[0] > now:
        return policy
    callers = tuple(caller_without_ended(caller, now) for caller in policy.callers)
    ended = {digest for caller in policy.callers for digest, end in caller.api_keys_end.items() if end <= now}
    return Policy(callers, policy.issuers, policy.version, policy.notes, ended)


def ended_notes(policy: Policy, now: float) -> Iterator[str]:
    """One sentence for each rule and API key that has ended, for a person to remove it from the file.

    Args:
        policy: The policy as written in the file.
        now: Unix time in seconds.

    """
    for caller in policy.callers:
        for rule in (*caller.rules, *caller.audit_rules):
            if rule.not_after is not None and rule.not_after <= now:
                yield f"{rule.place}: allows nothing since {rfc3339(rule.not_after)}"
        for digest, end in caller.api_keys_end.items():
            if end <= now:
                yield f"{caller.name}: the API key {digest.hex()[:16]}… is refused since {rfc3339(end)}"


def caller_without_ended(caller: Caller, now: float) -> Caller:
    """The caller without what has ended, as `without_ended`."""
    if all(end > now for end in caller.ends):
        return caller
    return replace(
        caller,
        rules=_lasting(caller.rules, now),
        audit_rules=_lasting(caller.audit_rules, now),
        api_key_digests=frozenset(
            digest for digest in caller.api_key_digests if caller.api_keys_end.get(digest, math.inf) > now
        ),
        api_keys_end={digest: end for digest, end in caller.api_keys_end.items() if end > now},
    )


def _lasting(rules: tuple[Rule, ...], now: float) -> tuple[Rule, ...]:
    return tuple(rule for rule in rules if rule.not_after is None or rule.not_after > now)
