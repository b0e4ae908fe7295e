"""What a leaked token says about itself. Its claims are unverified: they help to look, and prove nothing."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from app.domain.token_response import readable_claims

_VISIBLE = re.compile(r"[!-~]{16,65536}")
_CLIENT_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_MILLISECONDS = re.compile(r"[0-9]{1,15}")

_LATEST = 253_402_300_799.0
"""Unix time of the end of the year 9999, the last that RFC 3339 can name. Anyone can write a later one into a token."""


@dataclass(frozen=True, slots=True)
class LeakedToken:
    """A token by its digest and claims; the token itself is not kept.

    Args:
        sha256: Its SHA-256 in hex.
        client_id: The client that it was issued to; None if it does not say.
        expires_at: Unix time in seconds; None if it does not say.

    """

    sha256: str
    client_id: str | None
    expires_at: float | None


def parse_leaked_token(text: str) -> LeakedToken:
    """Read a token as it was found: alone, or after ``Bearer``.

    Raises:
        ValueError: It is not one token. The message does not quote it.

    """
    scheme, _, rest = text.strip().partition(" ")
    token = (
        rest.strip()
        if scheme.lower().removeprefix("authorization:").strip() in {"bearer", ""} and rest
        else text.strip()
    )
    if _VISIBLE.fullmatch(token) is None:
        raise ValueError("must be the token, alone or after Bearer")
    claims = readable_claims(token)
    client_id = claims.get("client_id")
    known = client_id if isinstance(client_id, str) and _CLIENT_ID.fullmatch(client_id) else None
    return LeakedToken(
        hashlib.sha256(token.encode()).hexdigest(), known, _end(claims.get("created_at"), claims.get("expires_in"))
    )


def _end(created_at: object, expires_in: object) -> float | None:
    """The end by Adobe's claims, which are text with milliseconds (docs/ims.md section 7)."""
    texts = (str(created_at), str(expires_in))
    if not all(_MILLISECONDS.fullmatch(text) for text in texts):
        return None
    end = sum(map(int, texts)) / 1000
    return end if end <= _LATEST else None
