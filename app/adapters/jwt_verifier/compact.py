"""Parses a compact JWS within limits, before anything in it is trusted.

PyJWT does the cryptography. It is not asked to decode: it is lenient where two readers of one token could differ
(several spellings of the same base64, a claim given twice).
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field

from app.domain.errors import UnauthenticatedError
from app.domain.identity import JWT_ALGORITHMS
from app.domain.refusal_reason import RefusalReason
from app.domain.strict_json import strict_json

MAX_JWT_BYTES = 8192
MAX_KEY_ID_LENGTH = 256

_SHAPE = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")

# A token may not say how it is to be read. Where it says which key verifies it (jku, jwk, x5u, x5c), that is ignored:
# issuers that real services use send it, and the keys come from the policy alone.
_REFUSED_HEADERS = frozenset({"crit", "b64", "zip", "enc"})

# A SPIFFE JWT-SVID may have JOSE (SPIFFE JWT-SVID section 2.3); at+jwt is an access token (RFC 9068).
_TYPES = frozenset({"jwt", "at+jwt", "jose"})


@dataclass(frozen=True, slots=True)
class UnverifiedJwt:
    """A well-formed JWT that is not verified.

    Args:
        algorithm: The ``alg`` header, one of `JWT_ALGORITHMS`.
        key_id: The ``kid`` header, or None.
        claims: The decoded payload.
        signing_input: The signed bytes.
        signature: The signature's bytes.

    """

    algorithm: str
    key_id: str | None
    claims: dict[str, object] = field(repr=False)
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)


def parse_jwt(unverified: bytes) -> UnverifiedJwt:
    """Parse a JWT.

    Raises:
        UnauthenticatedError: It is too long, malformed, or its header is not acceptable.

    """
    shape = _SHAPE.fullmatch(unverified) if len(unverified) <= MAX_JWT_BYTES else None
    if shape is None:
        raise UnauthenticatedError(RefusalReason.MALFORMED)
    header, payload, signature = shape.groups()
    try:
        fields, claims, signature = _json(_decode(header)), _json(_decode(payload)), _decode(signature)
    except ValueError:
        raise UnauthenticatedError(RefusalReason.MALFORMED) from None
    if not _is_acceptable(fields):
        raise UnauthenticatedError(RefusalReason.HEADER)
    return UnverifiedJwt(_algorithm(fields), _key_id(fields), claims, unverified[: shape.end(2)], signature)


def _algorithm(header: dict[str, object]) -> str:
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in JWT_ALGORITHMS:
        raise UnauthenticatedError(RefusalReason.HEADER)
    return algorithm


def _key_id(header: dict[str, object]) -> str | None:
    if "kid" not in header:
        return None
    key_id = header["kid"]
    if not isinstance(key_id, str) or not 1 <= len(key_id) <= MAX_KEY_ID_LENGTH:
        raise UnauthenticatedError(RefusalReason.HEADER)
    return key_id


def _is_acceptable(header: dict[str, object]) -> bool:
    if not _REFUSED_HEADERS.isdisjoint(header):
        return False
    if "typ" not in header:
        return True
    kind = header["typ"]
    return isinstance(kind, str) and kind.lower().removeprefix("application/") in _TYPES


def _decode(segment: bytes) -> bytes:
    """Decode only canonical base64url: otherwise there would be several spellings of one token."""
    decoded = base64.urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != segment:
        raise ValueError
    return decoded


def _json(text: bytes) -> dict[str, object]:
    decoded = strict_json(text)
    if not isinstance(decoded, dict):
        raise ValueError  # not a programming error: the token is malformed
    return decoded
