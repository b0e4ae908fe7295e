"""Changes of a key ring, as text in and out: add a key, let it seal, take one out. Everything else is kept."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from app.shared_cache.key_ring import KEY_BYTES, MAX_CACHE_KEYS, KeyRing, KeyRingError


def with_new_key(document: bytes, random_bytes: Callable[[int], bytes], key_id: str, created: str) -> str:
    """The ring with one more key at the end: it opens, but does not seal yet.

    Args:
        document: The ring.
        random_bytes: Source of randomness, such as ``secrets.token_bytes``.
        key_id: 1 to 16 lower-case letters or digits.
        created: When; kept for people, RFC 3339.

    Raises:
        KeyRingError: The ring is invalid or full.

    """
    ring = _parsed(document)
    if len(ring["keys"]) >= MAX_CACHE_KEYS:
        raise KeyRingError("keys", f"has {MAX_CACHE_KEYS} keys already; retire one first")
    key = base64.b64encode(random_bytes(KEY_BYTES)).decode()
    return _text({**ring, "keys": [*ring["keys"], {"id": key_id, "key": key, "created": created}]})


def with_newest_sealing(document: bytes) -> str:
    """The ring with its last key first, so that it seals.

    Raises:
        KeyRingError: The ring is invalid, or has one key only.

    """
    ring = _parsed(document)
    if len(ring["keys"]) < 2:
        raise KeyRingError("keys", "has one key only; add another one first, without --activate")
    return _text({**ring, "keys": [ring["keys"][-1], *ring["keys"][:-1]]})


def without_key(document: bytes, key_id: str) -> str:
    """The ring without a key.

    Raises:
        KeyRingError: The ring is invalid, does not have the key, or seals with it.

    """
    ring = _parsed(document)
    kept = [key for key in ring["keys"] if key["id"] != key_id]
    if len(kept) == len(ring["keys"]):
        raise KeyRingError("keys", "has no key of that id; `keys check` lists them")
    if ring["keys"][0]["id"] == key_id:
        raise KeyRingError("keys[0]", "seals, so it cannot be retired; activate another key first")
    return _text({**ring, "keys": kept})


def _parsed(document: bytes) -> dict[str, Any]:
    KeyRing.parse(document)
    ring: dict[str, Any] = json.loads(document)
    return ring


def _text(ring: dict[str, Any]) -> str:
    text = json.dumps(ring, indent=2) + "\n"
    KeyRing.parse(text.encode())
    return text
