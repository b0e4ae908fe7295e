"""Strict JSON."""

from __future__ import annotations

import pytest

from app.domain.strict_json import strict_json


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"{",
        b"{}x",
        b"<html>",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":1,"a":2}',
        b'{"b":{"a":1,"a":1}}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
    ],
    ids=lambda text: repr(text[:16]),
)
def test_an_ambiguous_document_is_refused(text: bytes) -> None:
    """Anything but one unambiguous JSON document raises ValueError and no other exception."""
    with pytest.raises(ValueError, match="JSON"):
        strict_json(text)


def test_the_error_does_not_repeat_the_document() -> None:
    """Neither the error nor its cause contains text of the document."""
    with pytest.raises(ValueError) as caught:
        strict_json(b'{"access_token": "canary-token"')
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_an_unambiguous_document_is_read() -> None:
    """All JSON types are read."""
    assert strict_json('{"a":[1,2.5,true,null,"é"]}'.encode()) == {"a": [1, 2.5, True, None, "é"]}


@pytest.mark.parametrize(("text", "refusal"), [
    (b"{", "not well-formed JSON"), (b"\xff", "not well-formed JSON"), (b"[" * 100_000, "not well-formed JSON"),
    (b"[NaN]", "NaN or Infinity in JSON"), (b"[-Infinity]", "NaN or Infinity in JSON"),
    (b"[1e999]", "a number that is too large in JSON"), (b'{"a": 1, "a": 1}', "a duplicate key in JSON"),
])  # fmt: skip
def test_a_refusal_says_what_is_wrong(text: bytes, refusal: str) -> None:
    """In constant words."""
    with pytest.raises(ValueError) as refused:
        strict_json(text)
    assert str(refused.value) == refusal
