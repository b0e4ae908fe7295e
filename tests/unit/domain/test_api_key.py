"""API keys: their form, their digest, and how new ones are generated."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.api_key import SECRET_BYTES, api_key_sha256, new_api_key, parse_api_key
from app.domain.errors import UnauthenticatedError
from app.domain.refusal_reason import RefusalReason

KEY = "itb_demo_" + "A" * 43


def test_the_digest_covers_the_whole_key() -> None:
    """The identity is the SHA-256 that the policy lists, and covers prefix and id."""
    identity = parse_api_key(KEY.encode())
    assert identity.digest == hashlib.sha256(KEY.encode()).digest()
    assert identity.digest.hex() == api_key_sha256(KEY)


@given(key_id=st.from_regex(r"[A-Za-z0-9]{1,32}", fullmatch=True), secret=st.binary(min_size=32, max_size=32))
def test_a_new_key_can_be_parsed(key_id: str, secret: bytes) -> None:
    """Whatever the random bytes, the key is well-formed, with 43 random characters."""
    key = new_api_key(key_id, secret)
    assert parse_api_key(key.encode()).digest.hex() == api_key_sha256(key)
    assert key.startswith(f"itb_{key_id}_")
    assert len(key) == len(f"itb_{key_id}_") + 43


@pytest.mark.parametrize("key_id", ["", "a_b", "a-b", "a.b", "x" * 33, "a\n", "\u00e9"])
def test_a_new_key_needs_a_plain_id(key_id: str) -> None:
    """An id that would make the key ambiguous is refused."""
    with pytest.raises(ValueError, match=r"^The id of an API key must be 1 to 32 letters or digits\.$"):
        new_api_key(key_id, b"x" * SECRET_BYTES)


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_new_key_needs_256_random_bits(length: int) -> None:
    """Fewer bytes are a programming error, not a shorter key."""
    with pytest.raises(ValueError, match="32 random bytes"):
        new_api_key("demo", b"x" * length)


@pytest.mark.parametrize(
    "unverified",
    [
        b"",
        b"itb_",
        b"itb_demo",
        b"itb_demo_",
        b"itb__" + b"A" * 43,
        b"itb_demo_" + b"A" * 15,
        b"itb_demo_" + b"A" * 257,
        b"itb_" + b"x" * 33 + b"_" + b"A" * 43,
        b"ITB_demo_" + b"A" * 43,
        KEY.encode() + b"\n",
        b" " + KEY.encode(),
        KEY.encode() + b"=",
        KEY.encode() + b"\xff",
        b"itb_d-o_" + b"A" * 43,
        b"xitb_demo_" + b"A" * 43,
        b"A" * 1_000_000,
    ],
)
def test_anything_else_proves_nothing(unverified: bytes) -> None:
    """A malformed key is refused with the one constant text."""
    with pytest.raises(UnauthenticatedError) as refused:
        parse_api_key(unverified)
    assert refused.value.detail == UnauthenticatedError.DETAIL
    assert refused.value.reason is RefusalReason.MALFORMED


@given(st.binary(max_size=400) | st.binary(max_size=400).map(lambda tail: b"itb_a_" + tail))
def test_no_bytes_cause_another_error(unverified: bytes) -> None:
    """Parsing ends in an identity or in `UnauthenticatedError`, whatever the bytes."""
    try:
        identity = parse_api_key(unverified)
    except UnauthenticatedError:
        return
    assert identity.digest == hashlib.sha256(unverified).digest()
