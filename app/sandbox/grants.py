"""Decides exchanges as IMS would: for which client, which org and which scopes."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.sandbox.assertions import check_assertion
from app.sandbox.clients import SandboxClient
from app.sandbox.refusal import ImsRefusal
from app.sandbox.state import SandboxState

JWT_SCOPES = "openid,AdobeID,read_organizations,additional_info.projectedProductContext"
"""The scopes of a service account's token. Its metascopes are never in the token."""

_SEPARATORS = re.compile(r"[ ,]+")


@dataclass(frozen=True, slots=True)
class Granted:
    """An exchange that is allowed.

    Args:
        client: The client.
        org_id: The org of the token.
        user_id: The technical account.
        scope: The token's scopes, separated by commas.
        secret: The client secret that was presented.

    """

    client: SandboxClient
    org_id: str
    user_id: str
    scope: str
    secret: str = field(repr=False)


def grant_for_assertion(state: SandboxState, form: Mapping[str, str]) -> Granted:
    """``/ims/exchange/jwt``.

    Raises:
        ImsRefusal: As IMS would refuse it.

    """
    # A wrong secret is 401 here and 400 at the token endpoint (docs/ims.md sections 1.5 and 3.5).
    client = _authenticated(state, form, wrong_secret=401)
    if client.kind != "jwt":
        # Adobe has converted such a client to OAuth, and always answers like this (docs/ims.md section 1.6).
        raise ImsRefusal(500, "internal_error", "Please try again later")
    bindings = state.clients.bindings(client.client_id)
    check_assertion(form.get("jwt_token", ""), client, bindings, state.hosts, state.clock())
    return Granted(client, client.org_id, client.technical_account_id or "", JWT_SCOPES, form["client_secret"])


def grant_for_client(state: SandboxState, form: Mapping[str, str]) -> Granted:
    """``/ims/token/v3`` with ``grant_type=client_credentials``.

    Raises:
        ImsRefusal: As IMS would refuse it.

    """
    if form.get("grant_type") != "client_credentials":
        raise ImsRefusal(400, "unsupported_grant_type", "The sandbox supports only the grant type client_credentials")
    client = _authenticated(state, form, wrong_secret=400)
    if client.kind == "jwt":
        text = "The client is not provisioned for the client_credentials grant"
        raise ImsRefusal(400, "unauthorized_client", text)
    org_id, user_id = _org(client, form.get("org_id"))
    scopes = ",".join(_scopes(client, form.get("scope", "")))
    return Granted(client, org_id, user_id, scopes, form["client_secret"])


def org_of(state: SandboxState, form: Mapping[str, str]) -> tuple[str | None, str | None]:
    """The client and the org that a form names, before anything is checked; None if unknown."""
    client = state.clients.find(form.get("client_id", ""))
    if client is None:
        return None, None
    named = form.get("org_id")
    return client.client_id, named if named in client.consented_orgs else client.org_id


def _authenticated(state: SandboxState, form: Mapping[str, str], wrong_secret: int) -> SandboxClient:
    client = state.clients.find(form.get("client_id", ""))
    if client is None:
        raise ImsRefusal(400, "invalid_client", "invalid client_id parameter")
    given = form.get("client_secret", "").encode()
    if not any(hmac.compare_digest(given, secret.encode()) for secret in client.client_secrets):
        raise ImsRefusal(wrong_secret, "invalid_client", "invalid client_secret parameter")
    return client


def _org(client: SandboxClient, named: str | None) -> tuple[str, str]:
    if client.kind == "enterprise_web_app" and not named:
        raise ImsRefusal(400, "invalid_request", "org_id is required for this client")
    if named in {None, "", client.org_id}:
        return client.org_id, client.technical_account_id or ""
    if client.kind == "enterprise_web_app" and named in client.consented_orgs:
        return named, client.consented_orgs[named]
    raise ImsRefusal(400, "unauthorized_client", "The organization has not consented to this client")


def _scopes(client: SandboxClient, asked: str) -> list[str]:
    scopes = [scope for scope in _SEPARATORS.split(asked) if scope]
    if not scopes or not set(scopes) <= set(client.scopes):
        raise ImsRefusal(400, "invalid_scope", "The scope is missing, unknown or not allowed for this client")
    return scopes
