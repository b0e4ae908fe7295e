"""The YAML reader of policies: plain values, or a refusal that names the line."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.adapters.policy_file import decode_policy
from app.adapters.policy_file.strict_yaml import _PIECE
from app.domain.plain_document import PolicyError


def test_plain_and_quoted_words_are_text() -> None:
    """Text, integers, null, block text and a byte order mark are read as YAML defines them."""
    text = '\ufeffa: one\nb: "yes"\nc: [1, 200/s, *]\n'.replace("*", "'*'") + "d:\ne: |\n  two\n  lines\n"
    assert decode_policy(text.encode()) == {
        "a": "one",
        "b": "yes",
        "c": [1, "200/s", "*"],
        "d": None,
        "e": "two\nlines\n",
    }


BOMB = "a: &a [x]\n" + "".join(f"{new}: &{new} [{', '.join(['*' + old] * 9)}]\n" for old, new in pairwise("abcd"))


@pytest.mark.parametrize("text", ["2027-01-31T00:00:00Z", "2027-01-31T00:00:00.5+01:00"])
def test_a_time_is_text_with_quotes_or_without(text: str) -> None:
    """A time in the form of RFC 3339 stays the text that a person reads."""
    assert decode_policy(f"a: {text}".encode()) == decode_policy(f"a: '{text}'".encode()) == {"a": text}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a: 1\nb: 2\na: 3\n", "line 3: must not give a key twice"),
        (b"x:\n  a: 1\n  'a': 2\n", "line 3: must not give a key twice"),
        (BOMB.encode(), "line 1: must not use anchors"),
        (b"a: *x\n", "line 1: must not use aliases"),
        (b"base: &base {a: 1}\nb:\n  <<: *base\n", "line 1: must not use anchors"),
        (b"<<: {a: 1}\n", "line 1: must be in quotes, since YAML reads it as something else than text"),
        (b"a: !!python/object/apply:os.system [x]\n", "line 1: must not use tags"),
        (b"a: !x b\n", "line 1: must not use tags"),
        (b"a: 1\n---\nb: 2\n", "line 2: must not begin a second document"),
        (b"[" * 1_000_000, "line 1: must not be nested so deeply"),
        (b"{a: " * 1_000_000, "line 1: must not be nested so deeply"),
        (b"- " * 100_000, "line 1: must not be nested so deeply"),
        (b"a: yes\n", "line 1: must be in quotes, since YAML reads it as something else than text"),
        (b"a: 1.5\n", "line 1: must be in quotes, since YAML reads it as something else than text"),
        (b"a: 2026-01-01\n", "line 1: must be in quotes, since YAML reads it as something else than text"),
        (b"a: 2026-01-01 00:00:00Z\n", "line 1: must be in quotes, since YAML reads it as something else than text"),
        (b"a: 0x10\n", "line 1: must be in quotes, since YAML reads it as something else than text"),
        (b"a: " + b"1" * 64, "line 1: must be in quotes, since YAML reads it as something else than text"),
        (b"1: a\n", "line 1: must have text as a key"),
        (b"? [a, b]\n: c\n", "line 1: must have text as a key"),
        (b"a: \xe9\n", "policy: must be UTF-8"),
        ("a: b\n".encode("utf-16"), "policy: must be UTF-8"),
        (b"a: \x00\n", "line 1: must not have invisible characters"),
        ("a: 1\n# old:\u2028b: 2\n".encode(), "line 2: must not have invisible characters"),
        ("a: 1 # \u0085b: 2\n".encode(), "line 1: must not have invisible characters"),
        ("\n\na: \u202eb\n".encode(), "line 3: must not have invisible characters"),
        (b"a: 1 # harmless\rb: 2\n", "line 1: must not have invisible characters"),
        ("a: b\u200b\n".encode(), "line 1: must not have invisible characters"),
        (b"a:\n\t- b\n", "line 2: must be YAML: found character that cannot start any token"),
        (b"a: [b\n", "line 2: must be YAML: did not find expected ',' or ']'"),
        (b"a: b: c\n", "line 1: must be YAML: mapping values are not allowed in this context"),
    ],
)
def test_misleading_yaml_is_refused(text: bytes, message: str) -> None:
    """Each is refused with the number of its line."""
    with pytest.raises(PolicyError) as refused:
        decode_policy(text)
    assert str(refused.value) == message


@pytest.mark.parametrize("before", range(_PIECE - 2, _PIECE + 2))
def test_invisible_characters_are_found_wherever_a_piece_ends(before: int) -> None:
    """In a long file, a line break of two characters is accepted and half of one is found, wherever a piece ends."""
    comment = "#" * before

    assert decode_policy(f"{comment}\r\na: 1\r\n".encode()) == {"a": 1}
    for misleading in ("\r", "\u200b"):
        with pytest.raises(PolicyError, match="line 2: must not have invisible characters"):
            decode_policy(f"\n{comment[1:]}{misleading}a: 1\n".encode())


def test_an_error_contains_nothing_of_the_file() -> None:
    """The error does not quote the line, as libyaml's own would, and with it a key."""
    for text in ("a: itb_canary_x: y", "a: 'itb_canary_x", "a: *itb_canary_x", "itb_canary_x: 1\nitb_canary_x: 1"):
        with pytest.raises(PolicyError) as refused:
            decode_policy(text.encode())
        assert "canary" not in str(refused.value)
        assert refused.value.__cause__ is None
        assert refused.value.__suppress_context__ or refused.value.__context__ is None


@settings(max_examples=500)
@given(st.binary(max_size=200) | st.text(alphabet="ab01:-?[]{}&*!|>'\"%@` \n\t#,<=~.\\", max_size=60).map(str.encode))
@example(b"%YAML 9.9\n---\na: 1\n")
@example(b'a: "\\ud800"\n')
def test_no_bytes_cause_another_error(content: bytes) -> None:
    """Decoding ends in plain values or in `PolicyError`, whatever the bytes."""
    try:
        decoded = decode_policy(content)
    except PolicyError:
        return
    assert decoded is None or isinstance(decoded, str | int | list | dict)


def test_true_and_false_are_booleans_and_no_other_word_is() -> None:
    """The two spellings that YAML 1.1 and 1.2 share; in quotes they are text, and other spellings need quotes."""
    assert decode_policy(b'[true, false, "true"]') == [True, False, "true"]
    for word in (b"yes", b"no", b"on", b"True", b"FALSE"):
        with pytest.raises(PolicyError, match="quotes"):
            decode_policy(b"[" + word + b"]")
