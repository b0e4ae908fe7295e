"""API keys of callers: ``itb_<id>_<secret>``. Only the SHA-256 of a key is ever stored."""

from __future__ import annotations

import base64
import hashlib
import re

from app.domain.errors import UnauthenticatedError
from app.domain.identity import ApiKeyIdentity
from app.domain.refusal_reason import RefusalReason

API_KEY_PREFIX = b"itb_"
"""The prefix that distinguishes an API key from a JWT, which begins with ``e`` (the base64url of ``{"``)."""

SECRET_BYTES = 32
"""Random bytes of a new key's secret: 256 bits cannot be guessed, so a plain SHA-256 is safe to store."""

_KEY = re.compile(rb"itb_[A-Za-z0-9]{1,32}_[A-Za-z0-9_-]{16,256}")
_ID = re.compile(r"[A-Za-z0-9]{1,32}")


def parse_api_key(unverified: bytes) -> ApiKeyIdentity:
    """The identity that the bearer of `unverified` claims; the policy decides whether a caller has this key.

    Raises:
        UnauthenticatedError: It does not have the form ``itb_<id>_<secret>``.

    """
    if _KEY.fullmatch(unverified) is None:
        raise UnauthenticatedError(RefusalReason.MALFORMED)
    return ApiKeyIdentity(hashlib.sha256(unverified).digest())


def api_key_sha256(api_key: str) -> str:
    """The value for ``api_key_sha256`` in the policy: hex SHA-256 of the whole key (docs/contract.md section 4)."""
    return hashlib.sha256(api_key.encode()).hexdigest()


def new_api_key(key_id: str, secret_bytes: bytes) -> str:
    """Make an API key.

    Args:
        key_id: 1 to 32 letters or digits, for people to recognise the key; not a secret.
        secret_bytes: 32 bytes from a cryptographic random source.

    Raises:
        ValueError: `key_id` has other characters, or `secret_bytes` has another length.

    """
    if _ID.fullmatch(key_id) is None:
        raise ValueError("The id of an API key must be 1 to 32 letters or digits.")
    if len(secret_bytes) != SECRET_BYTES:
        raise ValueError(f"The secret of an API key must be made from {SECRET_BYTES} random bytes.")
    return f"itb_{key_id}_{base64.urlsafe_b64encode(secret_bytes).rstrip(b'=').decode()}"
