"""``policy explain``: why a caller may or may not have a token, and who may have the tokens of an org."""

from __future__ import annotations

import json
import time
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.failure import FAILED, USAGE, CommandError
from app.cli.policy_input import JsonOption, PolicyOption, read_policy_option
from app.cli.policy_words import described, listed, token_scopes
from app.domain.amount import amount

if TYPE_CHECKING:
    from app.domain.names import CredentialName, OrgId, Scope
    from app.domain.policy import Action, Caller, Policy
    from app.domain.policy_explanation import Entitlement, Explanation, NearestRule


def explain(
    org: Annotated[str, typer.Option(metavar="ORG", help="The IMS org id.", show_default=False)],
    caller: Annotated[
        str | None, typer.Option(metavar="NAME", help="The caller's name. Default: list every caller of the org.")
    ] = None,
    credential: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the org's credential. Default with --caller: default.")
    ] = None,
    scope: Annotated[
        str | None, typer.Option(metavar="SCOPES", help="Scopes of the request, separated by spaces or commas.")
    ] = None,
    action: Annotated[
        str | None, typer.Option(metavar="ACTION", help="vend, report, purge or status. Default with --caller: vend.")
    ] = None,
    policy: PolicyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Explain whether a caller may have a token, and which rule decides; or list every caller that may.

    If the request is denied, shows the rule that comes closest, and what it lacks. Needs no running broker.
    Exit status 0: allowed (without --caller: at least one caller is listed); 1: not; 2: the command or the policy is
    invalid.
    """
    from app.domain.errors import InvalidRequestError
    from app.domain.names import parse_credential_name, parse_org, parse_scopes

    try:
        org_id, name = parse_org(org), None if credential is None else parse_credential_name(credential)
        scopes = None if scope is None else parse_scopes(scope)
    except InvalidRequestError as error:
        raise CommandError(error.detail, USAGE) from None
    asked, in_force = _action(action), read_policy_option(policy)
    if caller is None:
        _list(in_force, org_id, name, scopes, asked, as_json=as_json)
    else:
        _explain(_caller(in_force, caller), org_id, name, scopes, asked, as_json=as_json)


def _action(name: str | None) -> Action | None:
    from app.domain.policy import Action

    try:
        return None if name is None else Action(name)
    except ValueError:
        raise CommandError(f"--action must be one of {', '.join(Action)}.", USAGE) from None


def _caller(policy: Policy, name: str) -> Caller:
    names = [caller.name for caller in policy.callers]
    if name in names:
        return policy.callers[names.index(name)]
    close = get_close_matches(name, names, n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else f"it has {amount(len(names), 'caller')}."
    raise CommandError(f"The policy has no caller of that name; {hint}", USAGE)


def _explain(
    caller: Caller,
    org: OrgId,
    credential: CredentialName | None,
    scopes: tuple[Scope, ...] | None,
    action: Action | None,
    *,
    as_json: bool,
) -> None:
    from app.domain.names import DEFAULT_CREDENTIAL, CredentialRef
    from app.domain.policy import Action
    from app.domain.policy_explanation import AccessRequest, explain_access

    ref, asked = CredentialRef(org, credential or DEFAULT_CREDENTIAL), action or Action.VEND
    found = explain_access(caller, AccessRequest(asked, ref, scopes), time.time())
    if as_json:
        request = {"caller": caller.name, "org": ref.org, "credential": ref.name, "action": asked, "scope": scopes}
        typer.echo(json.dumps({**request, **_as_json(found)}))
    else:
        _print(found, asked, f"{caller.name} may {{}}{asked} {ref.org}, credential {ref.name}", scopes)
    if not found.allowed:
        raise typer.Exit(FAILED)


def _as_json(found: Explanation) -> dict[str, object]:
    nearest = found.nearest
    return {
        "allowed": found.allowed,
        "scopes": found.scopes,
        "rules": [rule.place for rule in found.rules],
        "has_credential": found.has_credential,
        "nearest": None
        if nearest is None
        else {"rule": nearest.rule.place, "missing": {lack.field: lack.values for lack in nearest.missing}},
    }


def _print(found: Explanation, action: Action, sentence: str, scopes: tuple[Scope, ...] | None) -> None:
    named = "" if scopes is None else f", with {listed(scopes)}"
    verdict, no = ("Allowed", "") if found.allowed else ("Denied", "not ")
    typer.echo(f"{verdict}: {sentence.format(no)}{named}.")
    if not found.has_credential:
        typer.echo("No API key or JWT is this caller: its match names none, or its keys have ended.")
    for rule in found.rules:
        typer.echo(f"{rule.place}: {described(rule)}")
    if found.allowed:
        for scope in token_scopes({action}, found.scopes):
            typer.echo(f"The token may have {scope}.")
    elif found.nearest is not None:
        _print_nearest(found.nearest, matches=found.nearest.rule in found.rules)
    elif not found.rules:
        typer.echo("It has no rule that allows anything.")


def _print_nearest(nearest: NearestRule, *, matches: bool) -> None:
    if not matches:
        typer.echo(f"{nearest.rule.place}: {described(nearest.rule)}")
    lacks = "; ".join(f"{lack.field} would need {listed(lack.values)}" for lack in nearest.missing)
    typer.echo(f"The nearest rule is {nearest.rule.place}: {lacks}.")


def _list(
    policy: Policy,
    org: OrgId,
    credential: CredentialName | None,
    scopes: tuple[Scope, ...] | None,
    action: Action | None,
    *,
    as_json: bool,
) -> None:
    from app.domain.policy import TOKEN_ACTIONS
    from app.domain.policy_explanation import who_may

    found = [
        entitled
        for entitled in who_may(policy, org, TOKEN_ACTIONS if action is None else {action}, time.time())
        if credential in {None, entitled.credential}
        and (entitled.permission.scopes is None or entitled.permission.scopes.issuperset(scopes or ()))
    ]
    if as_json:
        typer.echo(json.dumps({"org": org, "callers": [_entitlement_as_json(entitled) for entitled in found]}))
    for entitled in [] if as_json else found:
        actions = entitled.permission.actions
        may = "; ".join([", ".join(sorted(actions)), *token_scopes(actions, entitled.permission.scopes)])
        places = ", ".join(rule.place for rule in entitled.rules)
        typer.echo(f"{entitled.caller.name}  {entitled.credential}  {may}  ({places})")
    if not found:
        if not as_json:
            typer.echo(f"No caller may {action or 'have a token of'} {org} like that.")
        raise typer.Exit(FAILED)


def _entitlement_as_json(entitled: Entitlement) -> dict[str, object]:
    scopes = entitled.permission.scopes
    return {
        "caller": entitled.caller.name,
        "credential": entitled.credential,
        "actions": sorted(entitled.permission.actions),
        "scopes": None if scopes is None else sorted(scopes),
        "rules": [rule.place for rule in entitled.rules],
    }
