"""The keys that seal cached tokens: the first one seals, all of them open, so that keys can be rotated."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from typing_extensions import override

from app.domain.rfc3339 import parse_rfc3339
from app.domain.strict_json import strict_json
from app.process.regular_file import FileError, read_bytes

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
MAX_CACHE_KEYS = 32
MAX_KEY_RING_BYTES = 64 * 1024

_KEY_ID = re.compile(r"[a-z0-9]{1,16}")
_FIELDS = frozenset({"id", "key", "created"})


class KeyRingError(ValueError):
    """A key ring is refused as a whole.

    Args:
        place: Where in it, such as ``keys[1].key``; never the value.
        expected: What was expected there.

    """

    def __init__(self, place: str, expected: str) -> None:
        super().__init__(f"{place}: {expected}")
        self.place = place
        self.expected = expected


class UnreadableKeyRingError(KeyRingError):
    """The file of the key ring is missing, or cannot be read."""


@dataclass(frozen=True, slots=True)
class CacheKey:
    """One AES-256 key.

    Args:
        id: Its id.
        material: 32 bytes; never in a repr.
        created: When it was made, in Unix time; None if the ring does not say it.

    """

    id: str
    material: bytes = field(repr=False)
    created: float | None = field(default=None, repr=False)


class KeyRing:
    """AES-256-GCM under named keys.

    Args:
        keys: At least one, with unique ids; the first one seals.

    """

    def __init__(self, keys: Iterable[CacheKey]) -> None:
        listed = tuple(keys)
        if not listed:
            raise KeyRingError("keys", "must list at least one key")
        self.ids = tuple(key.id for key in listed)
        self._ring = {key.id: AESGCM(key.material) for key in listed}
        self._older = frozenset(key.id for key in listed if _is_older(key, listed[0]))

    @override
    def __repr__(self) -> str:
        return f"KeyRing(ids={self.ids!r})"

    @property
    def sealing_id(self) -> str:
        """Id of the key that seals."""
        return self.ids[0]

    def is_outdated(self, key_id: str) -> bool:
        """Whether a key of this ring is older than the one that seals, by the times at which they were made.

        Not if a time is unknown, and not for a newer key, which another replica may let seal already.
        """
        return key_id in self._older

    @classmethod
    def parse(cls, document: bytes) -> KeyRing:
        """Parse a key ring file.

        Raises:
            KeyRingError: It is not a valid key ring; the error names the place, never the value.

        """
        if len(document) > MAX_KEY_RING_BYTES:
            raise KeyRingError("document", f"must be at most {MAX_KEY_RING_BYTES} bytes")
        try:
            parsed = strict_json(document)
        except ValueError:
            raise KeyRingError("document", "must be JSON, as `keys create` writes it") from None
        if not isinstance(parsed, dict) or set(parsed) != {"version", "keys"}:
            raise KeyRingError("document", "must be an object with version and keys, and nothing else")
        if type(parsed["version"]) is not int or parsed["version"] != 1:
            raise KeyRingError("version", "must be 1")
        return cls(_parse_keys(parsed["keys"]))

    def seal(self, nonce: bytes, plain: bytes, bound_to: bytes) -> bytes:
        """Encrypt `plain` with the first key. The result opens only with the same `bound_to`."""
        return self._ring[self.sealing_id].encrypt(nonce, plain, bound_to)

    def open(self, key_id: str, nonce: bytes, sealed: bytes, bound_to: bytes) -> bytes | None:
        """Decrypt, or None if `sealed` was not made with this key for `bound_to`."""
        cipher = self._ring.get(key_id)
        if cipher is None or len(nonce) != NONCE_BYTES or len(sealed) < TAG_BYTES:
            return None
        try:
            return cipher.decrypt(nonce, sealed, bound_to)
        except InvalidTag:
            return None


def load_key_ring(path: Path) -> KeyRing:
    """Read the key ring at `path`.

    Raises:
        UnreadableKeyRingError: The file is missing, or cannot be read.
        KeyRingError: It is not a valid key ring.

    """
    try:
        document = read_bytes(path, MAX_KEY_RING_BYTES)
    except FileError as error:
        raise UnreadableKeyRingError("file", error.reason) from None
    return KeyRing.parse(document)


def new_key_ring(random_bytes: Callable[[int], bytes], key_id: str, created: str) -> str:
    """A key ring with one new key, as JSON text with a final newline.

    Args:
        random_bytes: Source of randomness, such as ``secrets.token_bytes``.
        key_id: 1 to 16 lower-case letters or digits.
        created: When, RFC 3339 in UTC. A value that an older key sealed is sealed again.

    """
    if _KEY_ID.fullmatch(key_id) is None:
        raise KeyRingError("id", "must be 1 to 16 lower-case letters or digits")
    key = base64.b64encode(random_bytes(KEY_BYTES)).decode()
    return json.dumps({"version": 1, "keys": [{"id": key_id, "key": key, "created": created}]}, indent=2) + "\n"


def _parse_keys(unverified: object) -> list[CacheKey]:
    if not isinstance(unverified, list) or not 1 <= len(unverified) <= MAX_CACHE_KEYS:
        raise KeyRingError("keys", f"must be a list of 1 to {MAX_CACHE_KEYS} keys")
    keys: list[CacheKey] = []
    for index, item in enumerate(unverified):
        key = _parse_key(item, f"keys[{index}]")
        # The same key under two ids would hide that a rotation changed nothing.
        if any(key.id == other.id for other in keys):
            raise KeyRingError(f"keys[{index}].id", "must be unique")
        if any(key.material == other.material for other in keys):
            raise KeyRingError(f"keys[{index}].key", "must be unique")
        keys.append(key)
    return keys


def _parse_key(item: object, place: str) -> CacheKey:
    if not isinstance(item, dict) or not {"id", "key"} <= set(item) <= _FIELDS:
        raise KeyRingError(place, "must be an object with id, key and optionally created")
    key_id, encoded = item["id"], item["key"]
    if not isinstance(key_id, str) or _KEY_ID.fullmatch(key_id) is None:
        raise KeyRingError(f"{place}.id", "must be 1 to 16 lower-case letters or digits")
    try:
        material = base64.b64decode(encoded, validate=True) if isinstance(encoded, str) else b""
    except (binascii.Error, ValueError):
        material = b""
    if len(material) != KEY_BYTES:
        raise KeyRingError(f"{place}.key", f"must be {KEY_BYTES} bytes in base64")
    return CacheKey(key_id, material, _parse_created(item, place))


def _parse_created(item: Mapping[str, object], place: str) -> float | None:
    if "created" not in item:
        return None
    try:
        return parse_rfc3339(str(item["created"]))
    except ValueError:
        raise KeyRingError(f"{place}.created", "must be a time like 2026-01-31T12:00:00Z") from None


def _is_older(key: CacheKey, than: CacheKey) -> bool:
    return key.created is not None and than.created is not None and key.created < than.created
