"""Recognises the one answer of Adobe's gateway after which a token is reported.

The others (403000, 403003, 403010, 429050 and so on) are about the key, the permissions or the limits: another token
does not help.
"""

from __future__ import annotations

import json

INVALID_TOKEN = "401013"
"""Adobe's code for "Oauth token is not valid": it is revoked, expired, or of another host."""

_MAX_BODY = 64 * 1024


def is_invalid_token(status: int, body: bytes) -> bool:
    """Whether Adobe refused the token itself."""
    if status != 401 or len(body) > _MAX_BODY:
        return False
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and str(document.get("error_code")) == INVALID_TOKEN


def bearer_token(authorization: str | bytes | None) -> str:
    """The token in a header; empty if there is none."""
    text = authorization.decode("latin-1") if isinstance(authorization, bytes) else authorization or ""
    scheme, _, token = text.partition(" ")
    return token if scheme == "Bearer" else ""
