"""Changes of a key ring, as text in and out: add a key, let it seal, take one out. Everything else is kept."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from app.domain.rfc3339 import parse_rfc3339, rfc3339
from app.shared_cache.key_ring import KEY_BYTES, MAX_CACHE_KEYS, KeyRing, KeyRingError


def with_new_key(document: bytes, random_bytes: Callable[[int], bytes], key_id: str, now: float) -> str:
    """The ring with one more key at the end: it opens, but does not seal yet.

    Args:
        document: The ring.
        random_bytes: Source of randomness, such as ``secrets.token_bytes``.
        key_id: 1 to 16 lower-case letters or digits.
        now: Unix time in seconds. The new key counts as newer than all others, even if this clock is behind.

    Raises:
        KeyRingError: The ring is invalid or full.

    """
    ring = _parsed(document)
    if len(ring["keys"]) >= MAX_CACHE_KEYS:
        raise KeyRingError("keys", f"has {MAX_CACHE_KEYS} keys already; retire one first")
    key = base64.b64encode(random_bytes(KEY_BYTES)).decode()
    times = [parse_rfc3339(each["created"]) + 1 for each in ring["keys"] if "created" in each]
    created = rfc3339(max([now, *times]))
    return _text({**ring, "keys": [*ring["keys"], {"id": key_id, "key": key, "created": created}]})


def with_newest_sealing(document: bytes) -> str:
    """The ring with the key that was made last in front, so that it seals; the same text if it seals already.

    Raises:
        KeyRingError: The ring is invalid, has one key only, or does not say which key was made last.

    """
    ring = _parsed(document)
    if len(ring["keys"]) < 2:
        raise KeyRingError("keys", "has one key only; add another one first, without --activate")
    newest = _newest(ring["keys"])
    if newest is ring["keys"][0]:
        return document.decode()
    return _text({**ring, "keys": [newest, *(key for key in ring["keys"] if key is not newest)]})


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
        raise KeyRingError("keys[0]", "encrypts, so it cannot be retired; activate another key first")
    return _text({**ring, "keys": kept})


def _newest(keys: list[dict[str, Any]]) -> dict[str, Any]:
    """The key that was made last. One without a time is from before `keys rotate`, which writes it."""
    times = [parse_rfc3339(key["created"]) if "created" in key else 0.0 for key in keys]
    if times.count(max(times)) > 1:
        raise KeyRingError("keys", "do not say which one was made last; give the new one a later time in created")
    return keys[times.index(max(times))]


def _parsed(document: bytes) -> dict[str, Any]:
    KeyRing.parse(document)
    ring: dict[str, Any] = json.loads(document)
    return ring


def _text(ring: dict[str, Any]) -> str:
    text = json.dumps(ring, indent=2) + "\n"
    KeyRing.parse(text.encode())
    return text
