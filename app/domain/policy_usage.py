"""When each API key and each rule of a policy was last used, as an audit log says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from app.domain.names import CredentialName, CredentialRef, OrgId
from app.domain.policy import Caller, Policy, Rule
from app.domain.rfc3339 import parse_rfc3339

MAX_REMEMBERED = 100_000
"""Kinds of requests whose API key and rules are remembered; a large log has few kinds."""

KEY_DIGITS = 16
"""Hex digits of an API key's SHA-256 in the audit log."""


@dataclass(frozen=True, slots=True)
class Use:
    """A request that was granted, or that a rule with ``mode: audit`` would have allowed.

    Args:
        caller: The caller's name.
        api_key: The first digits of its API key's SHA-256, or None.
        org: The org, or None for a list of orgs.
        credential: The credential, or None for a list of orgs.
        action: The action.
        scopes: The scopes of the token, separated by spaces; empty if there is no token.
        audit_rule: The place of the rule with ``mode: audit``, or None if the request was granted.

    """

    caller: str
    api_key: str | None
    org: str | None
    credential: str | None
    action: str
    scopes: str = ""
    audit_rule: str | None = None


@dataclass(slots=True, eq=False)
class Used:
    """An API key or a rule, and its last use.

    Args:
        caller: The name of its caller.
        kind: Which of the two it is.
        name: The first digits of the key's SHA-256, or the rule's place in the file.
        not_after: Unix time in seconds at which it ends, or None.
        last_use: Time of its last use, RFC 3339 in UTC as in the log; None if the log has none.
        is_known: Whether its use can be seen in the log.

    """

    caller: str
    kind: Literal["api_key", "rule", "audit_rule"]
    name: str
    not_after: float | None
    last_use: str | None = None
    is_known: bool = True


class PolicyUsage:
    """Collects the last use of the API keys and rules of `policy`.

    Args:
        policy: The policy, as it is in the file. Requests count for the rules that allow them today.

    """

    def __init__(self, policy: Policy) -> None:
        self._callers = {caller.name: _CallerUsage(caller) for caller in policy.callers}
        self._used_by: dict[Use, tuple[Used, ...]] = {}

    def note(self, use: Use, time: str) -> None:
        """Note a request at `time`, RFC 3339 in UTC with the same number of digits in each call."""
        found = self._used_by.get(use)
        if found is None:
            if len(self._used_by) >= MAX_REMEMBERED:
                self._used_by.clear()
            caller = self._callers.get(use.caller)
            found = self._used_by[use] = () if caller is None else tuple(caller.used_by(use))
        for used in found:
            if used.last_use is None or used.last_use < time:
                used.last_use = time

    def all(self) -> Iterator[Used]:
        """Every API key and rule, caller by caller in the order of the file."""
        for caller in self._callers.values():
            yield from caller.all()


class _CallerUsage:
    def __init__(self, caller: Caller) -> None:
        self._keys = {
            digest.hex()[:KEY_DIGITS]: Used(caller.name, "api_key", digest.hex()[:KEY_DIGITS], end)
            for digest in sorted(caller.api_key_digests)
            for end in [caller.api_keys_end.get(digest)]
        }
        self._has_jwts = bool(caller.issuer)
        self._rules = [(rule, Used(caller.name, "rule", rule.place, rule.not_after)) for rule in caller.rules]
        self._audit_rules = {
            rule.place: Used(caller.name, "audit_rule", rule.place, rule.not_after) for rule in caller.audit_rules
        }

    def all(self) -> Iterator[Used]:
        yield from self._keys.values()
        yield from (used for _, used in self._rules)
        yield from self._audit_rules.values()

    def used_by(self, use: Use) -> Iterator[Used]:
        if use.audit_rule is not None:
            yield from (used for place, used in self._audit_rules.items() if place == use.audit_rule)
            return
        if use.api_key in self._keys:
            yield self._keys[use.api_key]
        elif use.api_key is None and not self._has_jwts:
            # Written by a version that did not name the key: it is clear which one it was only if there is one.
            for used in self._keys.values():
                used.is_known = len(self._keys) == 1
                if used.is_known:
                    yield used
        yield from (used for rule, used in self._rules if _allows(rule, use))


def _allows(rule: Rule, use: Use) -> bool:
    if use.action not in rule.actions:
        return False
    if use.org is None or use.credential is None:
        return True
    scopes = use.scopes.split()
    has_scope = rule.scopes is None or not scopes or not rule.scopes.isdisjoint(scopes)
    return has_scope and rule.matches(CredentialRef(OrgId(use.org), CredentialName(use.credential)))


Verdict = Literal["ended", "ending", "unused", "in_use", "unseen", "unknown"]


def verdict(used: Used, since: str, until: str, now: float, *, unused_seconds: float, ending_seconds: float) -> Verdict:
    """What a person should know about an API key or a rule.

    Args:
        used: The use.
        since: Time of the log's first line, RFC 3339.
        until: Time of the log's last line, RFC 3339; of the time after it, the log says nothing.
        now: Unix time in seconds.
        unused_seconds: For how long before `until` it must not have been used to be ``unused``.
        ending_seconds: How soon it must end to be ``ending``.

    Returns:
        ``unseen`` if the log is too short, or ends too early, to say whether it is in use; ``unknown`` if the log does
        not say which API key was used.

    """
    if used.not_after is not None and used.not_after <= now:
        return "ended"
    if used.not_after is not None and used.not_after - now <= ending_seconds:
        return "ending"
    if used.last_use is not None and now - parse_rfc3339(used.last_use) < unused_seconds:
        return "in_use"
    if not used.is_known:
        return "unknown"
    unused_for = parse_rfc3339(until) - parse_rfc3339(used.last_use or since)
    return "unseen" if unused_for < unused_seconds else "unused"


def counted(verdicts: Iterable[Verdict]) -> dict[Verdict, int]:
    """How many there are of each verdict that calls for a change of the policy."""
    found: dict[Verdict, int] = {"unused": 0, "ending": 0, "ended": 0}
    for one in verdicts:
        if one in found:
            found[one] += 1
    return found
