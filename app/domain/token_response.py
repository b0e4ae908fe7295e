"""Whether an answer of IMS can be trusted (docs/ims.md sections 1.4, 3.2, 7; docs/contract.md sections 2 and 9).

An answer is trusted only if everything readable in it agrees with the grant. The most dangerous mistake is
the unit of ``expires_in``: it depends on the endpoint, and is checked against the claims of the token.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass

from app.domain.credential import ExpiresInUnit
from app.domain.grant import Grant, IssuedToken
from app.domain.names import Scope
from app.domain.strict_json import strict_json
from app.domain.tenant_errors import BadUpstreamResponseError

MIN_LIFETIME = 5.0
"""Seconds. A token with a shorter lifetime is of no use."""

MAX_TOKEN_LIFETIME = 48 * 3600.0
"""Seconds. Adobe's tokens live up to 24 hours; a lifetime of more than twice that is in the wrong unit."""

MIN_OPAQUE_LIFETIME: Mapping[ExpiresInUnit, float] = {
    # 86399 seconds would be read as 86 s here, and nothing else in the answer can confirm it. So it is refused.
    ExpiresInUnit.MILLISECONDS: 300.0,
    ExpiresInUnit.SECONDS: 10.0,
}
"""The shortest lifetime in seconds of a token whose claims cannot be read, by the unit of its endpoint."""

MAX_CREATED_AHEAD = 300.0
"""Seconds by which ``created_at`` may be ahead of this clock."""

_ACCESS_TOKEN = re.compile(r"[\x21-\x7e]{16,16384}")
_DIGITS = re.compile(r"[0-9]{1,16}")
_TECHNICAL_ACCOUNT = re.compile(r"[A-Za-z0-9]{24}@techacct\.adobe\.com")
_SCOPE_SEPARATORS = re.compile(r"[ ,]+")
_MAX_INTEGER = 10**16


@dataclass(frozen=True, slots=True)
class _ClaimedLife:
    """The lifetime that a token claims, from `begin` to `end`, both Unix time in seconds."""

    begin: float
    end: float


def issued_token(grant: Grant, payload: object, received_at: float) -> IssuedToken:
    """Check the decoded body of a 200 answer.

    Args:
        grant: The grant that was sent.
        payload: The decoded JSON document.
        received_at: Unix time in seconds when the answer had arrived in full.

    Returns:
        The token, with the earlier of the two expiries that the answer and the token name.

    Raises:
        BadUpstreamResponseError: The answer is malformed or ambiguous, or contradicts the grant.

    """
    if not isinstance(payload, Mapping):
        raise BadUpstreamResponseError("it is not a JSON object")
    value = _access_token(payload)
    lifetime = _expires_in(payload) / grant.credential.expires_in_unit.value
    if not 0 < lifetime <= MAX_TOKEN_LIFETIME:
        raise BadUpstreamResponseError("expires_in is not a lifetime of up to 48 hours in this endpoint's unit")
    claims = readable_claims(value)
    _check_identity(grant, claims)
    expires_at = _expires_at(grant, claims, lifetime, received_at)
    return IssuedToken(value, _scopes(grant, claims), issued_at=received_at, expires_at=expires_at)


def readable_claims(token: str) -> Mapping[str, object]:
    """The claims of a three-part JWT, unverified; empty if the token is opaque.

    They can reveal a mistake, but prove nothing, because IMS does not publish a key for access tokens.
    """
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        payload = strict_json(_base64url(parts[1]))
    except ValueError:
        return {}
    return payload if isinstance(payload, dict) else {}


def _base64url(text: str) -> bytes:
    """Decode base64url with or without its padding (aio-lib-ims accepts both, too)."""
    stripped = text.rstrip("=")
    try:
        return base64.b64decode(stripped + "=" * (-len(stripped) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("not base64url") from None


def _access_token(payload: Mapping[object, object]) -> str:
    value = payload.get("access_token")
    if not isinstance(value, str) or _ACCESS_TOKEN.fullmatch(value) is None:
        raise BadUpstreamResponseError("access_token is missing or not 16 to 16384 visible ASCII characters")
    token_type = payload.get("token_type")
    # Enterprise web apps do not get one (docs/ims.md section 3.2).
    if token_type is not None and (not isinstance(token_type, str) or token_type.lower() != "bearer"):
        raise BadUpstreamResponseError("token_type is not bearer")
    return value


def _expires_in(payload: Mapping[object, object]) -> int:
    number = _integer(payload.get("expires_in"))
    if number is None:
        raise BadUpstreamResponseError("expires_in is missing or not a whole number")
    return number


def _integer(value: object) -> int | None:
    """A whole number. It may be a string of digits, or a float without a fraction. None for anything else."""
    match value:
        case bool():
            return None
        case int() if abs(value) < _MAX_INTEGER:
            return value
        case float() if value.is_integer() and abs(value) < _MAX_INTEGER:
            return int(value)
        case str() if _DIGITS.fullmatch(value):
            return int(value)
        case _:
            return None


def _check_identity(grant: Grant, claims: Mapping[str, object]) -> None:
    credential = grant.credential
    client_id = claims.get("client_id")
    if client_id is not None and client_id != credential.client_id:
        raise BadUpstreamResponseError("the token belongs to another client")
    for name in ("org", "org_id"):
        org = claims.get(name)
        if org is not None and org != credential.ref.org:
            raise BadUpstreamResponseError("the token belongs to another org")
    ours, theirs = credential.technical_account_id, claims.get("user_id")
    if _is_technical_account(ours) and _is_technical_account(theirs) and ours != theirs:
        raise BadUpstreamResponseError("the token belongs to another technical account")


def _is_technical_account(value: object) -> bool:
    return isinstance(value, str) and _TECHNICAL_ACCOUNT.fullmatch(value) is not None


def _expires_at(grant: Grant, claims: Mapping[str, object], lifetime: float, received_at: float) -> float:
    claimed = _claimed_life(claims)
    if claimed is None:
        if lifetime < MIN_OPAQUE_LIFETIME[grant.credential.expires_in_unit]:
            raise BadUpstreamResponseError("expires_in is too short for a token whose claims cannot be read")
        return received_at + lifetime
    _check_life(claimed, lifetime, received_at)
    expires_at = min(received_at + lifetime, claimed.end)
    if expires_at - received_at < MIN_LIFETIME:
        raise BadUpstreamResponseError("the token expires within seconds")
    return expires_at


def _claimed_life(claims: Mapping[str, object]) -> _ClaimedLife | None:
    created_at, expires_in = _integer(claims.get("created_at")), _integer(claims.get("expires_in"))
    if created_at is None or expires_in is None:
        return None
    return _ClaimedLife(created_at / 1000, (created_at + expires_in) / 1000)


def _check_life(claimed: _ClaimedLife, lifetime: float, received_at: float) -> None:
    if claimed.end <= received_at:
        raise BadUpstreamResponseError("the token has already expired")
    if claimed.begin > received_at + MAX_CREATED_AHEAD:
        raise BadUpstreamResponseError("the token was created in the future; compare the clocks")
    claimed_lifetime = claimed.end - claimed.begin
    if lifetime > claimed_lifetime * 1.01 + 5 or lifetime < claimed_lifetime * 0.1:
        raise BadUpstreamResponseError("expires_in contradicts the claims of the token; it may be in the wrong unit")


def _scopes(grant: Grant, claims: Mapping[str, object]) -> tuple[Scope, ...]:
    """The scopes that were asked for and that the token claims. If it has no scope claim: those that were asked for.

    A request for some of the credential's scopes must not get more of them. A request for all of them may: Adobe may
    add others.
    """
    claimed = claims.get("scope")
    if not grant.credential.token_claims_scopes or claimed is None:
        return grant.scopes
    carried = set(_SCOPE_SEPARATORS.split(claimed)) - {""} if isinstance(claimed, str) else set()
    asked = set(grant.scopes)
    if asked < set(grant.credential.scopes) and not (carried and carried <= asked):
        raise BadUpstreamResponseError("the token's scopes are not those that were asked for")
    return tuple(scope for scope in grant.scopes if scope in carried) or grant.scopes
