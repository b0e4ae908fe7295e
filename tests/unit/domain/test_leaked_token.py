"""A leaked token is read as it was found, and only its digest and claims are kept."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest

from app.domain.leaked_token import LeakedToken, parse_leaked_token


def token(**claims: object) -> str:
    """A token with these claims and no real signature."""
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({}, claims))
    return ".".join((*parts, "c2ln"))


FOUND = token(client_id="client-1", created_at="1900000000000", expires_in="86400000")


@pytest.mark.parametrize("text", [
    FOUND, f"  {FOUND}\n", f"Bearer {FOUND}", f"bearer  {FOUND} ", f"Authorization: Bearer {FOUND}".replace(": ", ":"),
])  # fmt: skip
def test_a_token_is_read_alone_or_after_bearer(text: str) -> None:
    """Its digest, its client, and its end in seconds."""
    digest = hashlib.sha256(FOUND.encode()).hexdigest()
    assert parse_leaked_token(text) == LeakedToken(digest, "client-1", 1_900_086_400.0)


@pytest.mark.parametrize("claims", [
    {"created_at": "1900000000000"}, {"expires_in": "86400000"}, {"created_at": "soon", "expires_in": "1"},
    {"client_id": 7},
])  # fmt: skip
def test_what_a_token_does_not_say_is_unknown(claims: dict[str, object]) -> None:
    """No end without both claims, and no client."""
    found = parse_leaked_token(token(**claims))
    assert (found.client_id, found.expires_at) == (None, None)


@pytest.mark.parametrize("text", ["", "Bearer ", "Basic abc", "two words", "caf\u00e9"])
def test_anything_else_is_refused_and_not_repeated(text: str) -> None:
    """The sentence is constant."""
    with pytest.raises(ValueError) as refused:
        parse_leaked_token(text)
    assert str(refused.value) == "must be the token, alone or after Bearer"
