"""Decides what a caller may do, and notes which rule with ``mode: audit`` would have allowed what it may not."""

from __future__ import annotations

from app.domain.errors import ForbiddenError
from app.domain.names import CredentialRef, Scope, ScopeSelection
from app.domain.policy import Action, Caller, Rule, union


def authorise(
    caller: Caller, action: Action, ref: CredentialRef, scopes: tuple[Scope, ...] | None = None
) -> ScopeSelection:
    """Decide whether `caller` may do `action` with `ref`, and with which scopes.

    Args:
        caller: The caller.
        action: The action that it asks for.
        ref: The credential that it asks for.
        scopes: The scopes that it named, or None for all that it may have.

    Raises:
        ForbiddenError: No rule allows it; the answer is the same for every reason.

    """
    permission = caller.permission(ref)
    if permission is None or not permission.allows(action, scopes):
        raise ForbiddenError(_audit_rule(caller, action, ref, scopes))
    if scopes is not None:
        return ScopeSelection(scopes, exact=True)
    bound = permission.scopes
    return ScopeSelection(None if bound is None else tuple(sorted(bound)))


def authorise_listing(caller: Caller) -> None:
    """Decide whether `caller` may list the status of any credential.

    Raises:
        ForbiddenError: No rule allows it for any credential.

    """
    if not (caller.named(Action.STATUS) or caller.everywhere(Action.STATUS)):
        raise ForbiddenError(next((rule.place for rule in caller.audit_rules if Action.STATUS in rule.actions), None))


def _audit_rule(caller: Caller, action: Action, ref: CredentialRef, scopes: tuple[Scope, ...] | None) -> str | None:
    """The place of the first rule with ``mode: audit`` that would allow it, with those in force; None if none would.

    If only several such rules together would allow it, it is the first of them.
    """
    in_force, audited = caller.rules_for(ref), caller.audit_rules_for(ref)

    def allows(*rules: Rule) -> bool:
        return union((*in_force, *rules)).allows(action, scopes)

    if not audited or not allows(*audited):
        return None
    return next((rule.place for rule in audited if allows(rule)), audited[0].place)
