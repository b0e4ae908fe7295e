"""Sealed records: a value sealed for a key opens for it, and any other value is refused with one kind of error."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.domain.access_token import AccessToken
from app.domain.names import TokenKey
from app.domain.token_record import encode_token
from app.shared_cache.key_names import KeyNames
from app.shared_cache.key_ring import NONCE_BYTES, KeyRing
from app.shared_cache.sealing import RecordRefusedError, milliseconds, seal, unseal
from tests.support.cached_tokens import ALL_KEYS, KEY, OTHER_KEY, key_ring, token_of

NOW = 1_900_000_000.123
TOKEN = token_of(KEY, minted_at=NOW, epoch=7)
RING = key_ring("k1")
NAMES = KeyNames()
NAME = NAMES.token(KEY)
SEALED = seal(TOKEN, RING, NAME)
START = len(SEALED) - len(SEALED.split(b";", 4)[4])
"""The position of the nonce."""


def refusal(stored: bytes, ring: KeyRing = RING, name: str = NAME, key: TokenKey = KEY) -> tuple[str, bool]:
    """Why a stored value is refused, and whether it is worthless; the error shows no part of it."""
    with pytest.raises(RecordRefusedError) as refused:
        unseal(stored, ring, name, key)
    assert str(refused.value) == refused.value.reason
    assert refused.value.__cause__ is None
    return refused.value.reason, refused.value.worthless


def sealed_by_hand(record: Mapping[str, object] | bytes, header: str | None = None, name: str = NAME) -> bytes:
    """A value that a holder of the key could seal: any record, under any header."""
    text = f"itb1;k1;{milliseconds(TOKEN.expires_at)};{TOKEN.epoch};" if header is None else header
    plain = record if isinstance(record, bytes) else json.dumps(record).encode()
    nonce = os.urandom(NONCE_BYTES)
    return text.encode() + nonce + RING.seal(nonce, plain, name.encode() + b"\0" + text.encode())


def fields(**changes: object) -> dict[str, object]:
    """The record of the token, with changes."""
    return {**json.loads(encode_token(TOKEN)), **changes}


@pytest.mark.parametrize("key", ALL_KEYS, ids=lambda key: key.selection.label)
def test_a_sealed_token_opens_for_its_key(key: TokenKey) -> None:
    """A value sealed for a key opens as the same token, and shows only its format, times and key id."""
    token = token_of(key, minted_at=NOW, epoch=7)
    sealed = seal(token, RING, NAMES.token(key))
    assert unseal(sealed, RING, NAMES.token(key), key) == token
    assert sealed.startswith(f"itb1;k1;{int(token.expires_at * 1000)};7;".encode())
    for part in (token.value, token.client_id, token.key.ref.org, "AdobeID"):
        assert part.encode() not in sealed


def test_a_record_sealed_by_hand_opens() -> None:
    """The records that the tests below seal are valid, except for what they change."""
    assert unseal(sealed_by_hand(fields()), RING, NAME, KEY) == TOKEN
    assert unseal(sealed_by_hand(fields(new_field=[1])), RING, NAME, KEY) == TOKEN


def test_sealing_twice_never_gives_the_same_value() -> None:
    """Each sealing uses a new nonce."""
    nonces = {seal(TOKEN, RING, NAME)[START : START + NONCE_BYTES] for _ in range(50)}
    assert len(nonces) == 50


def test_old_keys_open_and_the_first_seals() -> None:
    """After a rotation old values still open, and new ones do not open with the old ring."""
    rotated = key_ring("k2", "k1")
    assert unseal(SEALED, rotated, NAME, KEY) == TOKEN
    sealed = seal(TOKEN, rotated, NAME)
    assert unseal(sealed, rotated, NAME, KEY) == TOKEN
    assert refusal(sealed) == ("unknown_key", False)


@pytest.mark.parametrize(("ring", "reason", "worthless"), [
    (key_ring("k2"), "unknown_key", False),
    (key_ring("k1", salt=98), "integrity", True),
    (key_ring("k2", "k1", salt=98), "integrity", True),
])  # fmt: skip
def test_a_value_with_an_unknown_key_is_not_worthless(ring: KeyRing, reason: str, worthless: bool) -> None:
    """A value with an unknown key id may open with a newer ring; one that a known key does not open is worthless."""
    assert refusal(SEALED, ring) == (reason, worthless)


def test_a_value_under_another_name_does_not_open() -> None:
    """A value opens only under the name for which it was sealed, whatever key is requested."""
    for key in ALL_KEYS[1:]:
        assert refusal(SEALED, name=NAMES.token(key), key=key) == ("integrity", True)
        assert refusal(SEALED, name=NAMES.token(key)) == ("integrity", True)
    assert refusal(SEALED, name=KeyNames("other").token(KEY)) == ("integrity", True)


def test_a_value_for_another_key_contradicts_itself() -> None:
    """If the name matches but the tenant in the record does not, the record is refused."""
    for key in ALL_KEYS[1:]:
        assert refusal(SEALED, key=key) == ("contradiction", True)
    assert refusal(sealed_by_hand(encode_token(replace(TOKEN, key=OTHER_KEY)))) == ("contradiction", True)


@pytest.mark.parametrize(("part", "value"), [(2, TOKEN.expires_at + 3600), (3, 8), (3, 0)])
def test_an_edited_header_does_not_open(part: int, value: float) -> None:
    """A later expiry or another epoch in the header that scripts read is detected."""
    parts = SEALED.split(b";", 4)
    parts[part] = str(milliseconds(value) if part == 2 else value).encode()
    assert refusal(b";".join(parts)) == ("integrity", True)


def test_a_header_of_another_value_does_not_open() -> None:
    """Header and record of two values of the same key cannot be mixed."""
    later = seal(token_of(KEY, minted_at=NOW + 60, epoch=7), RING, NAME)
    mixed = b";".join([*later.split(b";", 4)[:4], SEALED.split(b";", 4)[4]])
    assert refusal(mixed) == ("integrity", True)


@pytest.mark.parametrize("header", [
    f"itb1;k1;{milliseconds(TOKEN.expires_at) + 1};7;", f"itb1;k1;{milliseconds(TOKEN.expires_at)};8;", "itb1;k1;0;0;",
])  # fmt: skip
def test_a_header_that_contradicts_its_record_is_refused(header: str) -> None:
    """The header that scripts compare must match the record, even if a holder of the key sealed both."""
    assert refusal(sealed_by_hand(fields(), header)) == ("contradiction", True)


@pytest.mark.parametrize("start", ["itb2;", "itb0;", "itb9999;", "itb12;", "itb2;;;;;", "itb2;k1;1;1;"])
def test_another_format_is_not_worthless(start: str) -> None:
    """A value of another format version cannot be read, but is not worthless, whatever follows."""
    assert refusal(start.encode()) == ("version", False)
    assert refusal(start.encode() + SEALED[5:]) == ("version", False)


def test_a_record_of_another_version_is_not_worthless() -> None:
    """A record with another version under our own header is not worthless, either."""
    assert refusal(sealed_by_hand(fields(v=2))) == ("version", False)


@pytest.mark.parametrize("stored", [
    b"", b"\0", b"itb", b"itb1", b"itb1;", b"itb;k1;1;1;", b"itb12345;", b"itb-1;", b"ITB1;k1;1;1;", b" " + SEALED,
    b"itb01" + SEALED[4:], b"itb1;K1;1;1;x", b"itb1;;1;1;", b"itb1;k1;;1;", b"itb1;k1;1;;", b"itb1;k1;-1;1;",
    b"itb1;k1;1.5;1;", b"itb1;k1;" + b"1" * 16 + b";1;", b"itb1;k1;1;1;", b"itb1;k1;1;1;" + b"\0" * 27,
    b"itb1;k1;1;1;" + b"\0" * 100, b"itb1;" + b"k" * 17 + b";1;1;", SEALED + b"\0", SEALED * 2, encode_token(TOKEN),
    "itb1;k1;\u0661;1;".encode(), b"OK", b"eyJ.canary.x",
], ids=lambda stored: repr(stored[:16]))  # fmt: skip
def test_a_value_that_was_not_sealed_is_worthless(stored: bytes) -> None:
    """A value that is not a sealed record, or has something added, is refused and can be removed."""
    assert refusal(stored) == ("integrity", True)


def test_a_truncated_value_does_not_open() -> None:
    """A value that was truncated at any length is refused."""
    for length in range(len(SEALED)):
        reason, worthless = refusal(SEALED[:length])
        assert (reason, worthless) == ("integrity", True), length


def test_every_flipped_bit_is_detected() -> None:
    """A value with any one bit changed is refused: by what the bit is in: format, key id or else."""
    version, key_id = 3, range(5, 7)
    header = {(place, bit) for place in range(START) for bit in range(8)}
    body = {(place, bit) for place in range(START, len(SEALED)) for bit in range(8)}
    for place, bit in header | set(random.Random(7).sample(sorted(body), 400)):
        bad = bytearray(SEALED)
        bad[place] ^= 1 << bit
        reason, worthless = refusal(bytes(bad))
        digit, letter = chr(bad[place]).isdigit(), chr(bad[place]).islower()
        expected = "integrity"
        if place == version and digit:
            expected = "version"
        elif place in key_id and bad[place] < 128 and (digit or letter):
            expected = "unknown_key"
        assert reason == expected, (place, bit)
        assert worthless or place == version or place in key_id, (place, bit)


@pytest.mark.parametrize("record", [
    b"", b"\xff", b"null", b"[]", b"{}", b"{" * 100_000, b'"' + b"\xed\xa0\x80" + b'"', b"9" * 5000,
    fields(org="another"), fields(credential="second"), fields(selection="= openid"), fields(token=""),
    fields(expires_at=None), fields(expires_at=float("nan")), fields(expires_at=float("inf")),
    fields(expires_at=10**400), fields(epoch=7.5), fields(epoch=-7), fields(refresh_at=NOW - 1), fields(v="1"),
    fields(v=None),
], ids=lambda record: repr(record)[:24])  # fmt: skip
def test_a_sealed_contradiction_is_refused(record: Mapping[str, object] | bytes) -> None:
    """A record that is not a token of its key is refused, even if a holder of the key sealed it."""
    assert refusal(sealed_by_hand(record)) == ("contradiction", True)


def test_an_expiry_that_is_too_large_is_refused() -> None:
    """A record whose expiry cannot be expressed in milliseconds is refused like any other contradiction."""
    assert refusal(sealed_by_hand(fields(expires_at=1e306))) == ("contradiction", True)


headers = st.from_regex(rb"itb[0-9]{0,5};[a-z0-9]{0,17};[0-9]{0,16};[0-9]{0,16};", fullmatch=True)
edited = st.builds(
    lambda place, junk, cut: SEALED[:place] + junk + SEALED[place + cut :],
    st.integers(0, len(SEALED)), st.binary(max_size=4), st.integers(0, 4),
)  # fmt: skip


@settings(max_examples=500)
@given(st.binary(max_size=300) | st.builds(lambda start, rest: start + rest, headers, st.binary(max_size=80)) | edited)
@example(SEALED)
def test_no_bytes_raise_anything_else(stored: bytes) -> None:
    """Any value opens as the token that was sealed, or is refused with `RecordRefusedError`."""
    try:
        found: AccessToken | None = unseal(stored, RING, NAME, KEY)
    except RecordRefusedError:
        found = None
    assert found == (TOKEN if stored == SEALED else None)
