"""Checks the assertion of a service account in full.

Rules and messages are those of Adobe's documentation. If IMS was observed to answer differently, they are the observed
ones: a wrong key and an expired certificate both give ``invalid_token`` with a message about "bindings".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from urllib.parse import urlsplit

import jwt
from jwt.types import Options

from app.sandbox.clients import Binding, SandboxClient
from app.sandbox.refusal import ImsRefusal

CLOCK_SKEW = 30.0
"""Seconds by which IMS tolerates a late ``exp``."""

MAX_AHEAD = 24 * 3600.0
"""Seconds. The longest lifetime of an assertion: one day."""

MAX_LENGTH = 16 * 1024

# The claims are checked by the rules of IMS, not by those of the library.
_SIGNATURE_ONLY: Options = {
    "verify_signature": True,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}
_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_URL_CLAIM = re.compile(r"https?://([^/]+)/s/(.+)")
_INTEGER = re.compile(r"[0-9]{1,16}")


def check_assertion(
    assertion: str, client: SandboxClient, bindings: Sequence[Binding], hosts: Collection[str], now: float
) -> None:
    """Accept an assertion, or refuse it as IMS would.

    Args:
        assertion: The compact JWT.
        client: The client that presents it.
        bindings: The client's certificates.
        hosts: The ``host[:port]`` names of the sandbox.
        now: Unix time in seconds.

    Raises:
        ImsRefusal: A claim or the signature does not meet the rules of IMS.

    """
    claims = _verified_claims(assertion, [binding for binding in bindings if _counts(binding, now)])
    _check_times(claims, now)
    _check_parties(claims, client)
    _check_audience(claims, client, hosts)
    _check_metascopes(claims, client, hosts)


def _counts(binding: Binding, now: float) -> bool:
    return binding.not_before - CLOCK_SKEW <= now < binding.not_after


def _verified_claims(assertion: str, bindings: Sequence[Binding]) -> Mapping[str, object]:
    if not assertion:
        raise ImsRefusal(400, "invalid_token", "JWT token is missing")
    if len(assertion) > MAX_LENGTH or _SHAPE.fullmatch(assertion) is None:
        raise ImsRefusal(400, "invalid_token", "Could not decode the JWT token")
    try:
        if jwt.get_unverified_header(assertion).get("alg") != "RS256":
            raise ImsRefusal(400, "invalid_signature", "The signature is not of a supported algorithm")
        for binding in bindings:
            claims = _claims_signed_by(binding, assertion)
            if claims is not None:
                return claims
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise ImsRefusal(400, "invalid_token", "Could not decode the JWT token") from None
    raise ImsRefusal(400, "invalid_token", "Could not match JWT signature to any of the bindings")


def _claims_signed_by(binding: Binding, assertion: str) -> Mapping[str, object] | None:
    try:
        claims: Mapping[str, object] = jwt.decode(assertion, binding.key, algorithms=["RS256"], options=_SIGNATURE_ONLY)
    except jwt.InvalidSignatureError:
        return None
    return claims


def _check_times(claims: Mapping[str, object], now: float) -> None:
    exp, jti = claims.get("exp"), claims.get("jti")
    if exp is None:
        raise ImsRefusal(400, "bad_request", "exp is missing")
    if not isinstance(exp, int) or isinstance(exp, bool):
        raise ImsRefusal(400, "invalid_token", "exp must be an integer")
    if jti is not None and not (isinstance(jti, int) or (isinstance(jti, str) and _INTEGER.fullmatch(jti))):
        raise ImsRefusal(400, "invalid_token", "jti must be an integer")
    if exp + CLOCK_SKEW <= now:
        raise ImsRefusal(400, "invalid_token", "JWT token has expired")
    if exp - CLOCK_SKEW > now + MAX_AHEAD:
        raise ImsRefusal(400, "invalid_token", "exp is more than 24 hours ahead")


def _check_parties(claims: Mapping[str, object], client: SandboxClient) -> None:
    for name, expected in (("iss", client.org_id), ("sub", client.technical_account_id)):
        if claims.get(name) != expected:
            raise ImsRefusal(400, "bad_request", f"{name} is missing, malformed or not the integration's")


def _check_audience(claims: Mapping[str, object], client: SandboxClient, hosts: Collection[str]) -> None:
    aud = claims.get("aud")
    values = aud if isinstance(aud, list) else [aud]
    if len(values) != 1 or not isinstance(values[0], str):
        raise ImsRefusal(400, "invalid_token", "aud must have exactly one value")
    parts = urlsplit(values[0])
    if parts.scheme not in {"http", "https"} or parts.netloc not in hosts or parts.query or parts.fragment:
        raise ImsRefusal(400, "invalid_client", "aud is not of this IMS host")
    if parts.path != f"/c/{client.client_id}":
        raise ImsRefusal(400, "invalid_client", "client_id and aud do not match")


def _check_metascopes(claims: Mapping[str, object], client: SandboxClient, hosts: Collection[str]) -> None:
    asked = [(found[1], found[2], value) for name, value in claims.items() if (found := _URL_CLAIM.fullmatch(name))]
    if not asked:
        raise ImsRefusal(400, "invalid_scope", "The JWT has no metascopes.")
    if not all(host in hosts and name in client.metascopes and value is True for host, name, value in asked):
        text = "The metascopes in the JWT are not a subset of the metascopes in the binding."
        raise ImsRefusal(400, "invalid_scope", text)
