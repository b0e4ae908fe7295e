"""Checks the claims of a JWT."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from app.domain.claim import Claim, compared_claims
from app.domain.errors import UnauthenticatedError
from app.domain.identity import Issuer
from app.domain.refusal_reason import RefusalReason, SignedFor

CLOCK_LEEWAY = 60
"""Seconds by which an issuer's clock may differ from ours."""

MAX_JWT_LIFETIME = 25 * 3600
"""Seconds: a day, and room for issuers that begin it some minutes back.

A token that lives longer is a password; an issuer of such tokens is misconfigured."""

_MAX_SUBJECT_LENGTH = 512
_SERVICE_ACCOUNT = re.compile(r"system:serviceaccount:([a-z0-9-]{1,63}):[a-z0-9.-]{1,253}")
_MAX_TIME = 2**40


@dataclass(frozen=True, slots=True)
class ClaimedIdentity:
    """What a JWT claims. Anyone can write this: only a verified signature makes it a `JwtIdentity`.

    Args:
        issuer: The ``iss`` claim, one of the policy's issuers.
        subject: The ``sub`` claim.
        expires_at: The ``exp`` claim: Unix time in seconds.
        namespace: The Kubernetes namespace of a service account; None for other subjects.
        claims: The claims that callers of the policy compare.

    """

    issuer: str
    subject: str
    expires_at: float
    namespace: str | None
    claims: frozenset[Claim]


def claimed_identity(claims: Mapping[str, object], issuer: Issuer, now: float) -> ClaimedIdentity:
    """The identity that `claims` state, if they are acceptable at `now` (Unix time in seconds).

    Raises:
        UnauthenticatedError: A claim is missing, malformed, or not acceptable.

    """
    if claims.get("iss") != issuer.issuer:
        raise UnauthenticatedError(RefusalReason.ISSUER_UNKNOWN)
    if not _is_for(claims.get("aud"), issuer.audiences):
        raise UnauthenticatedError(RefusalReason.AUDIENCE)
    subject = _subject(claims)
    if subject is None:
        raise UnauthenticatedError(RefusalReason.SUBJECT)
    expiry, namespace = _expiry(claims, now), _namespace(claims, subject)
    return ClaimedIdentity(issuer.issuer, subject, expiry, namespace, compared_claims(claims, issuer.claims))


def claimed_parties(claims: Mapping[str, object], issuer: Issuer) -> SignedFor | None:
    """Issuer and subject that `claims` state, whatever else is wrong with them; None if the subject is unusable."""
    subject = _subject(claims)
    return None if subject is None else SignedFor(issuer.issuer, subject)


def _subject(claims: Mapping[str, object]) -> str | None:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= _MAX_SUBJECT_LENGTH or not subject.isprintable():
        return None
    return subject


def _namespace(claims: Mapping[str, object], subject: str) -> str | None:
    """The namespace of a Kubernetes service account; None unless subject and claim name the same one."""
    account = _SERVICE_ACCOUNT.fullmatch(subject)
    private = claims.get("kubernetes.io")
    if account is None or not isinstance(private, dict) or private.get("namespace") != account[1]:
        return None
    return account[1]


def _is_for(audience: object, ours: tuple[str, ...]) -> bool:
    if isinstance(audience, str):
        return audience in ours
    if not isinstance(audience, list) or not all(isinstance(item, str) for item in audience):
        return False
    return not set(ours).isdisjoint(audience)


def _expiry(claims: Mapping[str, object], now: float) -> float:
    expires_at, issued_at, not_before = (_time(claims, name) for name in ("exp", "iat", "nbf"))
    if expires_at is None:
        raise UnauthenticatedError(RefusalReason.LIFETIME)  # It would never expire.
    if expires_at <= now - CLOCK_LEEWAY:
        raise UnauthenticatedError(RefusalReason.EXPIRED)
    if any(begin is not None and begin > now + CLOCK_LEEWAY for begin in (issued_at, not_before)):
        raise UnauthenticatedError(RefusalReason.NOT_YET_VALID)
    lifetime = expires_at - now - CLOCK_LEEWAY if issued_at is None else expires_at - issued_at
    if lifetime > MAX_JWT_LIFETIME or (issued_at is not None and lifetime <= 0):
        raise UnauthenticatedError(RefusalReason.LIFETIME)
    return expires_at


def _time(claims: Mapping[str, object], name: str) -> float | None:
    """A NumericDate, which may have a fraction (RFC 7519 section 2). In Python True is an int, and NaN a float."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX_TIME:
        raise UnauthenticatedError(RefusalReason.MALFORMED)
    return float(value)
