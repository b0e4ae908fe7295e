"""The compact form of a JWS (RFC 7515 section 7.1) for signers that sign bytes and know nothing of JWTs."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

_HEADER = {"alg": "RS256", "typ": "JWT"}


def signing_input(claims: Mapping[str, object]) -> str:
    """What is signed with RS256 (RFC 7515 section 5.1): the header and `claims`, each in base64url."""
    return f"{_part(_HEADER)}.{_part(claims)}"


def base64url(value: bytes) -> str:
    """`value` in base64url without padding."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _part(value: Mapping[str, object]) -> str:
    return base64url(json.dumps(value, separators=(",", ":")).encode())
