"""A token as bytes in the shared cache: a plain header that scripts can read, then the record under AES-256-GCM.

The associated data is the whole key name and the header. A record that was moved to another key or tenant, or whose
expiry was edited, does not open. So it cannot yield another tenant's token or a longer life.
"""

from __future__ import annotations

import os
import re
from typing import Literal

from app.domain.access_token import AccessToken
from app.domain.names import TokenKey
from app.domain.token_record import RECORD_VERSION, TokenRecordError, decode_token, encode_token
from app.shared_cache.key_ring import NONCE_BYTES, KeyRing

_FORMAT = re.compile(rb"itb([0-9]{1,4});")
_HEADER = re.compile(rb"itb([0-9]{1,4});([a-z0-9]{1,16});([0-9]{1,15});([0-9]{1,15});")


class RecordRefusedError(Exception):
    """A stored value is not a token of the key it was found under.

    Args:
        reason: See `app.domain.events.CacheRecordRefused`.
        worthless: True if no replica can use the value, so it is best removed.

    """

    def __init__(
        self, reason: Literal["integrity", "unknown_key", "version", "contradiction"], *, worthless: bool
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.worthless = worthless


def milliseconds(seconds: float) -> int:
    """Unix time in whole milliseconds, rounded down, as headers have it."""
    return int(seconds * 1000)


def seal(token: AccessToken, ring: KeyRing, name: str) -> bytes:
    """The bytes to store for `token` under the key `name`."""
    expiry = milliseconds(token.expires_at)
    header = f"itb{RECORD_VERSION};{ring.sealing_id};{expiry};{token.epoch};".encode()
    nonce = os.urandom(NONCE_BYTES)
    return header + nonce + ring.seal(nonce, encode_token(token), _bound_to(name, header))


def unseal(stored: bytes, ring: KeyRing, name: str, key: TokenKey) -> AccessToken:
    """The token in `stored`, which was found under the key `name` of `key`.

    Raises:
        RecordRefusedError: It is not a token that this ring sealed for this key.

    """
    written = _FORMAT.match(stored)
    if written is not None and int(written[1]) != RECORD_VERSION:
        # Written by another release, which may still be in use: leave it alone.
        raise RecordRefusedError("version", worthless=False)
    header = _HEADER.match(stored)
    if header is None:
        raise RecordRefusedError("integrity", worthless=True)
    key_id = header[2].decode()
    nonce_end = header.end() + NONCE_BYTES
    plain = ring.open(key_id, stored[header.end() : nonce_end], stored[nonce_end:], _bound_to(name, header[0]))
    if plain is None and key_id not in ring.ids:
        # A replica with a newer ring may have sealed it: leave it for replicas that have the key.
        raise RecordRefusedError("unknown_key", worthless=False)
    if plain is None:
        raise RecordRefusedError("integrity", worthless=True)
    try:
        token = decode_token(plain, key)
    except TokenRecordError as error:
        raise RecordRefusedError(error.reason, worthless=error.reason == "contradiction") from None
    try:
        expiry = milliseconds(token.expires_at)
    except OverflowError:  # finite in seconds, but not in milliseconds
        raise RecordRefusedError("contradiction", worthless=True) from None
    if expiry != int(header[3]) or token.epoch != int(header[4]):
        raise RecordRefusedError("contradiction", worthless=True)
    return token


def sealed_by(stored: bytes) -> str | None:
    """The id of the key that sealed a record, from its header, which its beginning is enough for; None without one."""
    header = _HEADER.match(stored)
    return None if header is None else header[2].decode()


def _bound_to(name: str, header: bytes) -> bytes:
    return name.encode() + b"\0" + header
