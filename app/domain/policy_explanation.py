"""Explains a policy to a person: which rules decide a request, what a refused one lacks, and who may use an org."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from app.domain.authorisation import authorise
from app.domain.errors import ForbiddenError
from app.domain.names import CredentialName, CredentialRef, OrgId, Scope
from app.domain.policy import Action, Caller, Permission, Policy, Rule, union
from app.domain.policy_ends import caller_without_ended, without_ended
from app.domain.rfc3339 import rfc3339


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """What a caller asks for.

    Args:
        action: The action.
        ref: The credential.
        scopes: The scopes that it names, or None for all that it may have.

    """

    action: Action
    ref: CredentialRef
    scopes: tuple[Scope, ...] | None = None


@dataclass(frozen=True, slots=True)
class Missing:
    """A field of the policy that does not allow a request.

    Args:
        field: Its name, such as ``orgs``.
        values: What the field would have to list, sorted.

    """

    field: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NearestRule:
    """The rule that needs the fewest changes to allow a refused request, and these changes."""

    rule: Rule
    missing: tuple[Missing, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a request is allowed or denied.

    Args:
        allowed: Whether the request is allowed.
        rules: The rules that match the org and the credential, in order; their scopes and actions add up.
        scopes: The scopes of the token, sorted; None for all scopes of the credential, and if it is denied.
        nearest: If it is denied: the rule that nearly allows it; None if the caller has no rule.
        has_credential: Whether any API key or JWT is the caller. If none is, no request is allowed.

    """

    allowed: bool
    rules: tuple[Rule, ...]
    scopes: tuple[Scope, ...] | None
    nearest: NearestRule | None
    has_credential: bool


def explain_access(caller: Caller, request: AccessRequest, now: float) -> Explanation:
    """Explain the decision of `authorise`, which makes it.

    Args:
        caller: The caller, as it is in the file.
        request: The org, credential, scopes and action that it asks for.
        now: Unix time in seconds of the request.

    """
    in_force = caller_without_ended(caller, now)
    matching = tuple(rule for rule in in_force.rules if rule.matches(request.ref))
    try:
        selection = authorise(in_force, request.action, request.ref, request.scopes)
    except ForbiddenError:
        nearest = _nearest(caller, matching, request, now)
        return Explanation(False, matching, None, nearest, in_force.has_credential)
    return Explanation(in_force.has_credential, matching, selection.scopes, None, in_force.has_credential)


def _nearest(caller: Caller, matching: tuple[Rule, ...], request: AccessRequest, now: float) -> NearestRule | None:
    modes = ((caller.rules, ()), (caller.audit_rules, (Missing("mode", ("enforce",)),)))
    candidates = (
        NearestRule(rule, (*mode, *_ended(rule, now), *_missing(rule, union((*matching, rule)), request)))
        for rules, mode in modes
        for rule in rules
    )
    return min(candidates, key=lambda near: _distance(near, request), default=None)


def _distance(near: NearestRule, request: AccessRequest) -> tuple[int, int, bool]:
    """How far a rule is from allowing a request, for sorting.

    Among rules that lack as much, one that allows the request but is not in force is nearest, then one that matches
    the org and the credential.
    """
    lacking_in_itself = sum(lack.field not in {"mode", "not_after"} for lack in near.missing)
    return len(near.missing), lacking_in_itself, not near.rule.matches(request.ref)


def _ended(rule: Rule, now: float) -> Iterator[Missing]:
    if rule.not_after is not None and rule.not_after <= now:
        yield Missing("not_after", (f"a time later than {rfc3339(now)}",))


def _missing(rule: Rule, together: Permission, request: AccessRequest) -> Iterator[Missing]:
    """What `rule` lacks. `together` is what it would allow with the rules that match already."""
    if rule.orgs is not None and request.ref.org not in rule.orgs:
        yield Missing("orgs", (request.ref.org,))
    if request.ref.name not in rule.credentials:
        yield Missing("credentials", (request.ref.name,))
    if request.action not in together.actions:
        yield Missing("actions", (request.action.value,))
    if together.scopes is not None and (lacking := set(request.scopes or ()) - together.scopes):
        yield Missing("scopes", tuple(sorted(lacking)))


@dataclass(frozen=True, slots=True)
class Entitlement:
    """What one caller may do with one credential of an org.

    Args:
        caller: The caller.
        credential: The name of the credential.
        permission: What the caller may do with it.
        rules: The rules that allow it, in order.

    """

    caller: Caller
    credential: CredentialName
    permission: Permission
    rules: tuple[Rule, ...]


def who_may(policy: Policy, org: OrgId, actions: Collection[Action], now: float) -> tuple[Entitlement, ...]:
    """Every caller that may do one of `actions` with a credential of `org` at `now`, in the order of the policy."""
    callers = without_ended(policy, now).callers
    found = (entitled for caller in callers if caller.has_credential for entitled in _entitlements(caller, org))
    return tuple(entitled for entitled in found if not entitled.permission.actions.isdisjoint(actions))


def _entitlements(caller: Caller, org: OrgId) -> Iterable[Entitlement]:
    applying = [rule for rule in caller.rules if rule.orgs is None or org in rule.orgs]
    for name in sorted({name for rule in applying for name in rule.credentials}):
        rules = tuple(rule for rule in applying if name in rule.credentials)
        yield Entitlement(caller, name, union(rules), rules)
