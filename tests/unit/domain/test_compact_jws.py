"""The compact form of a JWS."""

from __future__ import annotations

import jwt
import pytest

from app.domain.compact_jws import base64url, signing_input


def test_the_input_is_what_a_jwt_library_reads() -> None:
    """Header and claims are those that an independent library decodes, without padding and without blanks."""
    token = f"{signing_input({'sub': 'ü', 'exp': 1})}.{base64url(b'signature')}"

    assert "=" not in token
    assert jwt.get_unverified_header(token) == {"alg": "RS256", "typ": "JWT"}
    assert jwt.decode(token, options={"verify_signature": False}) == {"sub": "ü", "exp": 1}


@pytest.mark.parametrize(("value", "encoded"), [
    (b"", ""), (b"a", "YQ"), (b"ab", "YWI"), (b"abc", "YWJj"), (b"\0\0\x17", "AAAX"), (b"\xfb\xff", "-_8"),
])  # fmt: skip
def test_base64url_has_no_padding(value: bytes, encoded: str) -> None:
    """The alphabet is that for URLs, and nothing but the padding is cut off (RFC 7515 appendix C)."""
    assert base64url(value) == encoded


def test_the_json_has_no_blanks() -> None:
    """What is signed is as short as it can be."""
    assert signing_input({"a": 1, "b": [1, 2]}).partition(".")[2] == base64url(b'{"a":1,"b":[1,2]}')
