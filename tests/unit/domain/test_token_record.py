"""Token records that another replica or release may have written, and which of them are accepted."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.domain.access_token import AccessToken
from app.domain.names import MAX_SCOPES, TokenKey, scopes_of
from app.domain.token_record import RECORD_VERSION, TokenRecordError, decode_token, encode_token
from tests.factories import KEY, OTHER_KEY, make_key, make_token

TOKEN = make_token(epoch=3, sandbox="prod")
KEYS = [KEY, OTHER_KEY, make_key(credential="second"), make_key(scopes="AdobeID openid")]
MISSING = object()


def record(**changes: object) -> bytes:
    """The record of the token, with changed or missing fields."""
    fields = {**json.loads(encode_token(TOKEN)), **changes}
    return json.dumps({name: value for name, value in fields.items() if value is not MISSING}).encode()


def refusal(unverified: bytes, key: TokenKey = KEY) -> str:
    """Why a record is refused; the error contains no part of it."""
    with pytest.raises(TokenRecordError) as refused:
        decode_token(unverified, key)
    assert str(refused.value) == refused.value.reason
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    return refused.value.reason


@pytest.mark.parametrize("token", [
    TOKEN,
    *(make_token(key) for key in KEYS),
    make_token(scopes=()),
    make_token(epoch=10**14, minted_at=1_900_000_000.123456, life=0.1 + 0.2, value="t\u00f6ken \U0001f600"),
    make_token(minted_at=1_900_000_000, life=86_400),
    make_token(refresh_share=0), make_token(refresh_share=1), make_token(life=0),
    replace(TOKEN, generation="0123456789ab", ims_base_url="https://ims-na1-stg1.adobelogin.com", kind="jwt"),
], ids=lambda token: "")  # fmt: skip
def test_a_decoded_token_equals_the_encoded_one(token: AccessToken) -> None:
    """With the token's key, a record decodes to a token that is equal in every field."""
    assert decode_token(encode_token(token), token.key) == token


@pytest.mark.parametrize("key", KEYS[1:])
def test_a_token_of_another_key_is_a_contradiction(key: TokenKey) -> None:
    """A record is valid only for its own org, credential and scopes."""
    assert refusal(record(), key) == "contradiction"
    assert refusal(encode_token(make_token(key))) == "contradiction"


@pytest.mark.parametrize("version", [0, 2, -1, 1.5, 10**300, 1e300])
def test_another_version_is_another_release(version: float) -> None:
    """A record of another version is reported as such, whatever else it contains."""
    assert refusal(record(v=version)) == "version"
    assert refusal(json.dumps({"v": version}).encode()) == "version"


def test_fields_of_a_newer_release_are_ignored() -> None:
    """A newer release may add fields without a new version; they do not change the token."""
    assert decode_token(record(added="later", more={"x": [1]}, selection2=None), KEY) == TOKEN


@pytest.mark.parametrize("value", [MISSING, None])
def test_a_record_may_have_no_sandbox(value: object) -> None:
    """Only the default sandbox may be missing from a record."""
    assert decode_token(record(sandbox=value), KEY) == replace(TOKEN, sandbox=None)


TEXTS = ("org", "credential", "selection", "token", "client_id", "kind", "ims_base_url", "generation")
NUMBERS = ("v", "epoch", "minted_at", "expires_at", "refresh_at")
NO_TEXT: list[object] = [MISSING, None, True, 0, 7, 1.5, [], {}, ["x"], ""]
NO_NUMBER: list[object] = [MISSING, None, True, False, "", "1", [], [1], {}, float("nan"), float("inf"), -float("inf"),
                           10**400]  # fmt: skip
NO_SCOPES: list[object] = [
    MISSING, None, True, 7, "", "openid", {}, {"openid": 1}, [7], [None], ["openid", 7], [["openid"]], [""], ["a b"],
    ["a,b"], ["a\n"], ["\ud800"], ["x" * 201], [f"s{number}" for number in range(MAX_SCOPES + 1)],
]  # fmt: skip
NO_SANDBOX: list[object] = [True, 7, [], {}, ""]


@pytest.mark.parametrize(("name", "value"), [
    *((name, value) for name in TEXTS for value in NO_TEXT),
    *((name, value) for name in NUMBERS for value in NO_NUMBER),
    *(("scopes", value) for value in NO_SCOPES),
    *(("sandbox", value) for value in NO_SANDBOX),
], ids=lambda value: "missing" if value is MISSING else repr(value)[:12])  # fmt: skip
def test_a_field_that_is_missing_or_of_a_wrong_type_is_a_contradiction(name: str, value: object) -> None:
    """Unless every field but the sandbox is present, of its type, finite and not empty, the record is refused."""
    assert refusal(record(**{name: value})) == "contradiction"


@pytest.mark.parametrize("changes", [
    {"epoch": -1}, {"epoch": 0.5}, {"epoch": -0.5},
    {"refresh_at": TOKEN.minted_at - 1}, {"refresh_at": TOKEN.expires_at + 1},
    {"expires_at": TOKEN.refresh_at - 1}, {"minted_at": TOKEN.refresh_at + 1},
    {"minted_at": TOKEN.expires_at, "refresh_at": TOKEN.expires_at, "expires_at": TOKEN.minted_at},
    {"org": f"{KEY.ref.org} "}, {"org": KEY.ref.org.lower()}, {"selection": "* "}, {"selection": "= openid"},
])  # fmt: skip
def test_fields_that_contradict_each_other_are_refused(changes: dict[str, object]) -> None:
    """Times in the wrong order, an impossible purge counter, or a key that nearly matches are contradictions."""
    assert refusal(record(**changes)) == "contradiction"


def test_scopes_come_back_sorted_and_once() -> None:
    """Scopes are sorted and without duplicates, as everywhere."""
    assert decode_token(record(scopes=["openid", "AdobeID", "openid"]), KEY).scopes == scopes_of(["AdobeID", "openid"])


@pytest.mark.parametrize("unverified", [
    b"", b" ", b"null", b"true", b"1", b'"text"', b"[]", b"[{}]", b"{}", b"{", b"\xff\xfe", b"\xef\xbb\xbf{}",
    b"\0" * 40, b"{" * 100_000, b"[" * 100_000, b'{"v":' * 50_000, b"9" * 5000,
    b'{"v":' + b"9" * 5000 + b"}", b'{"v":NaN}',
    record()[:-1], record() + b"}", record() * 2, b"[" + record() + b"]",
], ids=lambda unverified: repr(unverified[:12]))  # fmt: skip
def test_anything_but_a_record_is_a_contradiction(unverified: bytes) -> None:
    """Bytes that are not a JSON object with a version are refused, without any other exception."""
    assert refusal(unverified) == "contradiction"


def test_a_token_is_not_in_its_repr() -> None:
    """The repr of a decoded record, as in a log or a traceback, shows everything but the token."""
    decoded = decode_token(record(token="eyJ.canary"), KEY)
    assert decoded.value == "eyJ.canary"
    assert "canary" not in repr(decoded)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
some_fields = st.dictionaries(st.sampled_from([*TEXTS, *NUMBERS, "scopes", "sandbox", "x"]), json_values, max_size=3)


@settings(max_examples=500)
@given(st.binary(max_size=100) | json_values.map(lambda value: json.dumps(value).encode())
       | some_fields.map(lambda changes: record(**changes)))  # fmt: skip
@example(record())
@example(record(epoch=3.0, minted_at=0, expires_at=1e308, refresh_at=10**300))
@example(record(minted_at=-1e308, expires_at=1e308))
def test_arbitrary_json_is_a_token_of_the_key_or_refused(unverified: bytes) -> None:
    """Decoding ends in a token of the key with a plausible lifetime, or in `TokenRecordError`."""
    try:
        token = decode_token(unverified, KEY)
    except TokenRecordError:
        return
    assert token.key == KEY
    assert token.value
    assert type(token.epoch) is int
    assert token.epoch >= 0
    assert token.minted_at <= token.refresh_at <= token.expires_at
    assert decode_token(encode_token(token), KEY) == token


def test_the_version_is_written() -> None:
    """A record contains its version, so that other releases can ignore it."""
    assert json.loads(encode_token(TOKEN))["v"] == RECORD_VERSION
