"""Requests are parsed strictly: nothing malformed, repeated or unknown is accepted."""

from __future__ import annotations

import contextlib
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.parameters import MAX_QUERY_BYTES, TokenQuery, parse_sha256, parse_token_query, parse_urlencoded
from app.domain.errors import InvalidRequestError
from app.domain.names import CredentialName, CredentialRef, Scope
from tests.factories import ORG, REF
from tests.support.malformed_orgs import malformed_orgs

BASE = f"org={ORG}"


@pytest.mark.parametrize(
    ("query", "parsed"),
    [
        (BASE, TokenQuery(REF)),
        (BASE.replace("@", "%40"), TokenQuery(REF)),
        (f"{BASE}&credential=second", TokenQuery(CredentialRef(ORG, CredentialName("second")))),
        (f"{BASE}&scope=openid+AdobeID", TokenQuery(REF, (Scope("AdobeID"), Scope("openid")))),
        (f"scope=openid,AdobeID,openid&{BASE}", TokenQuery(REF, (Scope("AdobeID"), Scope("openid")))),
        (f"{BASE}&min_ttl=43200", TokenQuery(REF, None, 43_200)),
        (f"{BASE}&min_ttl=0", TokenQuery(REF)),
        (f"&{BASE}&", TokenQuery(REF)),
        (f"{BASE}&&&min_ttl=7&&", TokenQuery(REF, None, 7)),
        (BASE + "&" * 100, TokenQuery(REF)),
    ],
)
def test_valid_queries_are_parsed(query: str, parsed: TokenQuery) -> None:
    """Order, encoding and separators of scopes do not matter."""
    assert parse_token_query(query.encode()) == parsed


@pytest.mark.parametrize(
    "query",
    [
        "",
        "org",
        "org=",
        "credential=default",
        f"{BASE}&{BASE}",
        f"{BASE}&o%72g={ORG}",
        f"{BASE}&credential=",
        f"{BASE}&credential=a/b",
        f"{BASE}&credential=..",
        f"{BASE}&credential=a&credential=a",
        f"{BASE}&scope=",
        f"{BASE}&scope=+",
        f"{BASE}&scope=%22",
        f"{BASE}&scope=a%0ab",
        f"{BASE}&scope={'a' * 201}",
        f"{BASE}&scope={'+'.join(f's{number}' for number in range(65))}",
        f"{BASE}&scope=a&scope=b",
        f"{BASE}&min_ttl=",
        f"{BASE}&min_ttl=-1",
        f"{BASE}&min_ttl=+1",
        f"{BASE}&min_ttl=1.5",
        f"{BASE}&min_ttl=1e3",
        f"{BASE}&min_ttl=43201",
        f"{BASE}&min_ttl=99999",
        f"{BASE}&min_ttl=100000",
        f"{BASE}&min_ttl=%D9%A1",
        f"{BASE}&min_ttl=1%0a",
        f"{BASE}&min_ttl=1&min_ttl=1",
        f"{BASE}&scopes=openid",
        "&&",
        f"{BASE}&=",
        f"{BASE};scope=openid",
        f"{BASE}&scope=%ff",
        f"{BASE}&scope=%ED%A0%80",
        f"{BASE}&{'&'.join(f'p{number}=1' for number in range(40))}",
        f"{BASE}&scope={'a' * MAX_QUERY_BYTES}",
    ],
)
def test_invalid_queries_are_refused(query: str) -> None:
    """Missing, malformed, repeated, unknown, too many and too long parameters are all invalid_request."""
    with pytest.raises(InvalidRequestError):
        parse_token_query(query.encode())


@pytest.mark.parametrize(("name", "org"), malformed_orgs(), ids=[name for name, _ in malformed_orgs()])
def test_a_malformed_org_is_refused_and_not_repeated(name: str, org: str) -> None:
    """It does not become a path, a key or a part of the error's text."""
    with pytest.raises(InvalidRequestError) as refused:
        parse_token_query(f"org={quote(org, errors='surrogatepass')}".encode())
    assert not org or org not in refused.value.detail


@given(st.binary(max_size=300))
def test_any_bytes_are_parsed_or_refused(raw: bytes) -> None:
    """No other exception is raised, whatever is sent."""
    with contextlib.suppress(InvalidRequestError):
        parse_token_query(raw)


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=5), min_size=1, max_size=5))
def test_fields_survive_encoding_and_decoding(fields: dict[str, str]) -> None:
    """A field that a client encodes is read unchanged, for all of Unicode that UTF-8 can encode."""
    try:
        raw = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in fields.items()).encode()
    except UnicodeEncodeError:
        return
    assert parse_urlencoded(raw) == fields


@pytest.mark.parametrize("value", [None, 1, "", "a" * 63, "a" * 65, "a" * 64 + "\n", "g" * 64, ["a" * 64]])
def test_only_a_hash_is_a_hash(value: object) -> None:
    """Anything but 64 hex digits is refused; their case does not matter."""
    with pytest.raises(InvalidRequestError):
        parse_sha256(value)
    assert parse_sha256("a" * 64) == parse_sha256("A" * 64) == "a" * 64
