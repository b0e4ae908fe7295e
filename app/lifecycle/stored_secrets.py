"""The client secrets in a stored document, and their digests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from app.domain.stored_document import StoredDocument


def secrets_of(stored: StoredDocument) -> tuple[str, ...]:
    """The client secrets as they are stored: a list, or one string."""
    secrets = stored.content.get("client_secrets")
    if isinstance(secrets, str):
        return (secrets,)
    return tuple(map(str, secrets)) if isinstance(secrets, list) else ()


def with_secrets(stored: StoredDocument, secrets: list[str]) -> Mapping[str, object]:
    """The content with other client secrets."""
    return {**stored.content, "client_secrets": secrets}


def secret_digest(secret: str) -> str:
    """The SHA-256 of a secret in hex, by which a rotation recognises it without keeping it."""
    return hashlib.sha256(secret.encode()).hexdigest()


def is_digest_of(digest: str | None, secrets: tuple[str, ...]) -> bool:
    """Whether the first of these secrets has this digest."""
    return bool(secrets) and digest == secret_digest(secrets[0])
