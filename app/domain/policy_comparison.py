"""Compares two policies by what they allow: which caller gains or loses which right, from when, and until when.

A right is an action or a scope, for one org and credential. It lasts until the latest `not_after` of the rules that
give it. So a change is a period: a right that is gone is lost from now on, one that ends earlier from its new end on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from app.domain.names import CredentialRef, OrgId
from app.domain.policy import TOKEN_ACTIONS, Caller, Policy, Rule
from app.domain.policy_ends import caller_without_ended

EVERY_ORG = OrgId("*")
"""Stands for every org; it is the id of none."""

EVERY_SCOPE = "*"
"""Stands for every scope of a credential."""


@dataclass(frozen=True, slots=True)
class Period:
    """When rights are gained or lost.

    Args:
        direction: ``gains`` or ``loses``.
        start: Unix time in seconds at which the change begins; None: at once.
        end: Unix time in seconds at which what is gained ends, or at which what is lost would have ended; None: never.

    """

    direction: Literal["gains", "loses"]
    start: float | None
    end: float | None


@dataclass(frozen=True, slots=True)
class RightsChange:
    """Rights that a caller gains or loses.

    Args:
        caller: Its name.
        orgs: The orgs, sorted; `EVERY_ORG` alone stands for every org, except `other_orgs`.
        other_orgs: The orgs with a change of their own, or with none, if `orgs` is `EVERY_ORG`.
        credential: The name of the credential.
        period: Whether they are gained or lost, and when.
        actions: The actions, sorted.
        scopes: Sorted; `EVERY_SCOPE` alone stands for every scope, except `other_scopes`.
        other_scopes: The scopes with a change of their own, or with none, if `scopes` is `EVERY_SCOPE`.

    """

    caller: str
    orgs: tuple[str, ...]
    other_orgs: tuple[str, ...]
    credential: str
    period: Period
    actions: tuple[str, ...]
    scopes: tuple[str, ...]
    other_scopes: tuple[str, ...]


_Rights = tuple[tuple[Period, tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...]
"""The changes for one org and credential: period, actions, scopes, other scopes."""


def rights_changes(old: Policy, new: Policy, now: float) -> Iterator[RightsChange]:
    """What each caller gains and loses, caller by caller in the order of the policies.

    Args:
        old: The policy before, as it is in the file.
        new: The policy after, as it is in the file.
        now: Unix time in seconds. What has ended does not count, and a caller without a credential has no right.

    """
    before, after = ({caller.name: caller for caller in policy.callers} for policy in (old, new))
    for name in dict.fromkeys([*before, *after]):
        rules = [_effective(callers.get(name), now) for callers in (before, after)]
        yield from _of_caller(name, rules[0], rules[1], now)


def _effective(caller: Caller | None, now: float) -> Caller:
    in_force = None if caller is None else caller_without_ended(caller, now)
    return Caller("", ()) if in_force is None or not in_force.has_credential else in_force


def _of_caller(name: str, old: Caller, new: Caller, now: float) -> Iterator[RightsChange]:
    rules = (*old.rules, *new.rules)
    orgs = sorted({org for rule in rules for org in rule.orgs or ()})
    for credential in sorted({one for rule in rules for one in rule.credentials}):
        everywhere = _rights(old, new, CredentialRef(EVERY_ORG, credential), now)
        by_org = {org: _rights(old, new, CredentialRef(org, credential), now) for org in orgs}
        exceptions = dict[_Rights, list[OrgId]]()
        for org, rights in by_org.items():
            if rights != everywhere:
                exceptions.setdefault(rights, []).append(org)
        others = tuple(sorted(org for found in exceptions.values() for org in found))
        yield from (RightsChange(name, (EVERY_ORG,), others, credential, *right) for right in everywhere)
        for rights, found in exceptions.items():
            yield from (RightsChange(name, tuple(found), (), credential, *right) for right in rights)


def _rights(old: Caller, new: Caller, ref: CredentialRef, now: float) -> _Rights:
    before, after = old.rules_for(ref), new.rules_for(ref)
    actions, scopes = _periods(_action_ends(before), _action_ends(after), now), dict[Period, list[str]]()
    if not all(TOKEN_ACTIONS.isdisjoint(rule.actions) for rule in (*before, *after)):
        named = {scope for rule in (*before, *after) for scope in rule.scopes or ()}
        scopes = _periods(_scope_ends(before, named), _scope_ends(after, named), now)
    else:
        named = set()
    rights = []
    for period in dict.fromkeys([*actions, *scopes]):
        found = scopes.get(period, [])
        kept = sorted(named.difference(found)) if EVERY_SCOPE in found else []
        changed = [EVERY_SCOPE] if EVERY_SCOPE in found else found
        rights.append((period, tuple(actions.get(period, ())), tuple(changed), tuple(kept)))
    return tuple(rights)


def _periods(before: Mapping[str, float], after: Mapping[str, float], now: float) -> dict[Period, list[str]]:
    periods = dict[Period, list[str]]()
    for name in sorted({*before, *after}):
        old, new = before.get(name, now), after.get(name, now)
        if old == new:
            continue
        first, last = min(old, new), max(old, new)
        period = Period(
            "gains" if new > old else "loses", None if first <= now else first, None if math.isinf(last) else last
        )
        periods.setdefault(period, []).append(name)
    return periods


def _action_ends(rules: Iterable[Rule]) -> dict[str, float]:
    ends = dict[str, float]()
    for rule in rules:
        for action in rule.actions:
            ends[action.value] = max(ends.get(action.value, -math.inf), _end(rule))
    return ends


def _scope_ends(rules: Iterable[Rule], named: Iterable[str]) -> dict[str, float]:
    """When each scope ends. One of the `named` ends no earlier than a rule for all scopes."""
    ends = dict[str, float]()
    for rule in rules:
        for scope in (EVERY_SCOPE,) if rule.scopes is None else rule.scopes:
            ends[scope] = max(ends.get(scope, -math.inf), _end(rule))
    if EVERY_SCOPE in ends:
        ends.update({scope: max(ends.get(scope, -math.inf), ends[EVERY_SCOPE]) for scope in named})
    return ends


def _end(rule: Rule) -> float:
    return math.inf if rule.not_after is None else rule.not_after
