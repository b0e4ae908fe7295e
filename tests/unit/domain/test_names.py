"""Names are parsed before they may become part of anything."""

from __future__ import annotations

import pytest

from app.domain.errors import InvalidRequestError, InvalidScopeError
from app.domain.names import (
    ALL_SCOPES,
    MAX_SCOPES,
    Scope,
    ScopeSelection,
    parse_credential_name,
    parse_org,
    parse_scopes,
    scopes_of,
)
from tests.support.malformed_orgs import malformed_orgs

A, B, C = Scope("a"), Scope("b"), Scope("c")


@pytest.mark.parametrize("org", ["0123456789ABCDEF01234567@AdobeOrg", "abcdefABCDEF0123456789zZ@AdobeOrg"])
def test_an_org_id_is_24_letters_or_digits_and_the_suffix(org: str) -> None:
    """A well-formed org id is accepted unchanged."""
    assert parse_org(org) == org


@pytest.mark.parametrize(("name", "org"), malformed_orgs(), ids=[name for name, _ in malformed_orgs()])
def test_a_malformed_org_is_refused_and_not_repeated(name: str, org: str) -> None:
    """Anything else is refused with a text that holds nothing of it."""
    with pytest.raises(InvalidRequestError) as refused:
        parse_org(org)
    assert len(org) < 5 or org not in refused.value.detail
    assert refused.value.detail.isascii()


@pytest.mark.parametrize("name", ["default", "a", "A9_-", "0", "x" * 64])
def test_a_credential_name_is_short_and_plain(name: str) -> None:
    """A well-formed name is accepted unchanged."""
    assert parse_credential_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * 65,
        "a\n",
        "\na",
        "a b",
        "a/b",
        "..",
        ".a",
        "-a",
        "_a",
        "a%2fb",
        "a\x00",
        "\u0430",
        "\uff41",
        "a.b",
        "*",
    ],
)
def test_a_malformed_credential_name_is_refused(name: str) -> None:
    """Nothing that could change a path or a key gets through."""
    with pytest.raises(InvalidRequestError):
        parse_credential_name(name)


@pytest.mark.parametrize(
    ("text", "scopes"),
    [
        ("openid", ("openid",)),
        ("openid AdobeID", ("AdobeID", "openid")),
        ("openid,AdobeID", ("AdobeID", "openid")),
        (" openid , openid ", ("openid",)),
        ("additional_info.roles", ("additional_info.roles",)),
        ("https://ims/s/ent_x", ("https://ims/s/ent_x",)),
    ],
)
def test_scopes_are_separated_by_blanks_or_commas(text: str, scopes: tuple[str, ...]) -> None:
    """Scopes come out sorted and once each, so that one wish is one cache key."""
    assert parse_scopes(text) == scopes


@pytest.mark.parametrize(
    "text",
    ["", " ", ",", "a\nb", "a\tb", 'a"b', "a\\b", "a\x00", "\u00e9", "\uff41", "x" * 201, "a\x7f", "a\u2028b", "a\n"],
)
def test_malformed_scopes_are_refused(text: str) -> None:
    """Only the characters of RFC 6749 section 3.3 are accepted."""
    with pytest.raises(InvalidRequestError):
        parse_scopes(text)


def test_the_number_of_scopes_is_bounded() -> None:
    """64 scopes pass, 65 do not."""
    names = [f"s{number}" for number in range(MAX_SCOPES + 1)]
    assert len(scopes_of(names[:-1])) == MAX_SCOPES
    with pytest.raises(InvalidRequestError):
        scopes_of(names)


def test_a_single_scope_holds_no_separator() -> None:
    """A list item is one scope: a comma or blank in it is refused, not split."""
    for item in ("a,b", "a b"):
        with pytest.raises(InvalidRequestError):
            scopes_of([item])


def test_a_selection_of_all_takes_what_there_is() -> None:
    """No wish and no bound means everything that the credential has."""
    assert ALL_SCOPES.of((A, B)) == (A, B)


def test_an_upper_bound_takes_what_is_common() -> None:
    """A bound of the policy leaves out what the credential does not have."""
    assert ScopeSelection((A, C)).of((A, B)) == (A,)


@pytest.mark.parametrize("selection", [ScopeSelection((C,)), ScopeSelection((C,), exact=True)])
def test_nothing_in_common_is_an_error(selection: ScopeSelection) -> None:
    """A token without any scope is never asked for."""
    with pytest.raises(InvalidScopeError):
        selection.of((A, B))


def test_a_named_scope_that_is_missing_is_an_error() -> None:
    """Who names scopes gets exactly these, or an error."""
    assert ScopeSelection((A, B), exact=True).of((A, B, C)) == (A, B)
    with pytest.raises(InvalidScopeError):
        ScopeSelection((A, C), exact=True).of((A, B))


def test_labels_tell_selections_apart() -> None:
    """No two different selections share a cache key, not even with scopes named like the marks."""
    selections = [
        ALL_SCOPES,
        ScopeSelection((A,)),
        ScopeSelection((A,), exact=True),
        ScopeSelection((A, B)),
        ScopeSelection((Scope("a<b"),)),
        ScopeSelection((Scope("*"),), exact=True),
        ScopeSelection((Scope("="), A), exact=True),
    ]
    assert len({selection.label for selection in selections}) == len(selections)
