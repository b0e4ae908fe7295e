"""JWK sets: which keys are used, and which are ignored without affecting the others."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from app.adapters.jwt_verifier.issuer_error import IssuerError
from app.adapters.jwt_verifier.key_set import MAX_ISSUER_KEYS, parse_key_set
from tests.support.issuer import SigningKey, base64url

GOOD = SigningKey().jwk
FOREIGN: list[tuple[str, Any]] = [
    ("symmetric", {"kty": "oct", "k": "AAAA", "kid": "a"}),
    ("symmetric for HS256", {"kty": "oct", "k": "AAAA", "alg": "HS256"}),
    ("unknown type", {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"}),
    ("no type", {"kid": "a"}),
    ("type a list", {**GOOD, "kty": ["RSA"]}),
    ("curve secp256k1", {"kty": "EC", "crv": "secp256k1", "x": "A" * 43, "y": "A" * 43}),
    ("curve P-521", {"kty": "EC", "crv": "P-521", "x": "A" * 88, "y": "A" * 88}),
    ("curve X25519", {"kty": "OKP", "crv": "X25519", "x": "A" * 43}),
    ("curve Ed448", {"kty": "OKP", "crv": "Ed448", "x": "A" * 76}),
    ("not on the curve", {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43}),
    ("weak RSA", SigningKey(bits=1024).jwk),
    ("huge RSA", {**GOOD, "n": base64url(b"\xff" * 1100)}),
    ("endless RSA", {**GOOD, "n": "A" * 100_000}),
    ("RSA with exponent 1", {**GOOD, "e": "AQ"}),
    ("RSA with a huge exponent", {**GOOD, "e": base64url(b"\x01" * 64)}),
    ("RSA without modulus", {"kty": "RSA", "e": "AQAB"}),
    ("private RSA", RSAAlgorithm.to_jwk(SigningKey().private, as_dict=True)),
    ("private EC", ECAlgorithm.to_jwk(SigningKey(kind="ES256").private, as_dict=True)),
    ("for encryption", {**GOOD, "use": "enc"}),
    ("use a list", {**GOOD, "use": ["sig"]}),
    ("for signing only", {**GOOD, "key_ops": ["sign"]}),
    ("key_ops not a list", {**GOOD, "key_ops": "verify"}),
    ("for another algorithm", {**GOOD, "alg": "RSA-OAEP"}),
    ("for a symmetric algorithm", {**GOOD, "alg": "HS256"}),
    ("alg not text", {**GOOD, "alg": 1}),
    ("kid not text", {**GOOD, "kid": 1}),
    ("kid too long", {**GOOD, "kid": "x" * 257}),
    ("modulus not text", {**GOOD, "n": 1}),
    ("not an object", "x"),
    ("null", None),
    ("a list", []),
]


def body(*keys: object) -> bytes:
    """A JWK set with these keys."""
    return json.dumps({"keys": list(keys)}).encode()


@pytest.mark.parametrize(("name", "key"), FOREIGN, ids=[name for name, _ in FOREIGN])
def test_an_unusable_key_is_ignored(name: str, key: object) -> None:
    """A key of an unknown, weak or private kind is ignored, and the key after it is used."""
    assert len(parse_key_set(body(key, GOOD))) == 1
    assert len(parse_key_set(body(key))) == 0


@pytest.mark.parametrize("use", ["sig", "jwt-svid", None])
def test_keys_for_signatures_are_used(use: str | None) -> None:
    """The use may be absent, `sig`, or the value of a SPIFFE bundle."""
    assert len(parse_key_set(body({**GOOD, "use": use, "key_ops": ["verify"], "x5c": ["x" * 5000]}))) == 1


@pytest.mark.parametrize("nothing", [None, "", []])
@pytest.mark.parametrize("member", ["use", "key_ops", "alg", "crv", "x", "x5c", "x5t", "x5u", "d"])
def test_a_member_that_says_nothing_counts_as_absent(member: str, nothing: object) -> None:
    """Null, empty text and an empty list are what some issuers write for members that a key does not have."""
    assert len(parse_key_set(body({**GOOD, member: nothing}))) == 1


@pytest.mark.parametrize("member", ["kty", "n", "e"])
def test_a_key_needs_its_own_members(member: str) -> None:
    """An empty member that the key is made of leaves no key."""
    assert len(parse_key_set(body({**GOOD, member: ""}))) == 0


def test_a_set_may_be_empty() -> None:
    """An issuer that has withdrawn all its keys says so with an empty list."""
    assert len(parse_key_set(b'{"keys": []}')) == 0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html><body>Sign in</body></html>",
        b"null",
        b"[]",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": [], "keys": []}',
        b"\xff\xfe",
        b"[" * 100_000,
        body(*[GOOD] * (MAX_ISSUER_KEYS + 1)),
    ],
)
def test_anything_but_a_set_is_refused(content: bytes) -> None:
    """A login page, another document or a flood of keys is refused as a whole, so that the old set is kept."""
    with pytest.raises(IssuerError) as refused:
        parse_key_set(content)
    assert refused.value.__cause__ is None


@settings(max_examples=200)
@given(
    st.binary(max_size=100)
    | st.dictionaries(
        st.sampled_from([*GOOD, "crv", "x", "y", "key_ops", "d"]),
        st.none() | st.integers() | st.text(max_size=60) | st.lists(st.text(max_size=5), max_size=2),
    ).map(lambda changes: body({**GOOD, **changes}))
)
def test_no_bytes_cause_another_error(content: bytes) -> None:
    """Parsing ends in a set of the usable keys or in `IssuerError`, whatever the bytes."""
    try:
        assert len(parse_key_set(content)) <= 1
    except IssuerError:
        return
