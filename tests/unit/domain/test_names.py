"""Names are parsed before they become part of a path, a URL or a key."""

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
LACKS_REQUESTED = (
    "scope: the credential lacks at least one of the requested scopes. Omit scope to get all that the policy allows."
)
HAS_NONE_ALLOWED = (
    "The credential has none of the scopes that the policy allows this caller."
    " Ask the operator to change the policy or the credential."
)


@pytest.mark.parametrize("org", ["0123456789ABCDEF01234567@AdobeOrg", "abcdefABCDEF0123456789zZ@AdobeOrg"])
def test_an_org_id_is_24_letters_or_digits_and_the_suffix(org: str) -> None:
    """A well-formed org id is accepted unchanged."""
    assert parse_org(org) == org


@pytest.mark.parametrize(("name", "org"), malformed_orgs(), ids=[name for name, _ in malformed_orgs()])
def test_a_malformed_org_is_refused_and_not_repeated(name: str, org: str) -> None:
    """Anything else is refused with a text that contains no part of it."""
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
    """Scopes are sorted and without duplicates, so that equal requests share a cache key."""
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
    """64 scopes are accepted, 65 are not."""
    names = [f"s{number}" for number in range(MAX_SCOPES + 1)]
    assert len(scopes_of(names[:-1])) == MAX_SCOPES
    with pytest.raises(InvalidRequestError):
        scopes_of(names)


def test_a_single_scope_has_no_separator() -> None:
    """A list item is one scope: a comma or a blank in it is an error, not a separator."""
    for item in ("a,b", "a b"):
        with pytest.raises(InvalidRequestError):
            scopes_of([item])


def test_a_selection_of_all_has_all_scopes_of_the_credential() -> None:
    """Without requested scopes and without a bound, all scopes of the credential are selected."""
    assert ALL_SCOPES.of((A, B)) == (A, B)


def test_an_upper_bound_selects_the_common_scopes() -> None:
    """Of the scopes that the policy allows, those that the credential has are selected."""
    assert ScopeSelection((A, C)).of((A, B)) == (A,)


@pytest.mark.parametrize("selection", [ScopeSelection((C,)), ScopeSelection((C,), exact=True)])
def test_nothing_in_common_is_an_error(selection: ScopeSelection) -> None:
    """A token without any scope is never requested."""
    with pytest.raises(InvalidScopeError):
        selection.of((A, B))


def test_a_named_scope_that_is_missing_is_an_error() -> None:
    """A request that names scopes gets exactly these, or an error."""
    assert ScopeSelection((A, B), exact=True).of((A, B, C)) == (A, B)
    with pytest.raises(InvalidScopeError):
        ScopeSelection((A, C), exact=True).of((A, B))


def test_different_selections_have_different_labels() -> None:
    """No two different selections share a cache key, even if a scope looks like a mark of a label."""
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


def test_each_refusal_says_what_is_allowed() -> None:
    """The text of an answer names the parameter and its form."""
    refusals = list[str]()
    for parse in (
        lambda: parse_org("x"),
        lambda: parse_credential_name(""),
        lambda: parse_scopes(","),
        lambda: parse_scopes("a\x7f"),
        lambda: ScopeSelection((A,), exact=True).of((B,)),
        lambda: ScopeSelection((A, B), exact=True).of((B,)),
        lambda: ScopeSelection((A,)).of((B,)),
    ):
        with pytest.raises((InvalidRequestError, InvalidScopeError)) as refused:
            parse()
        refusals.append(refused.value.detail)
    assert refusals == [
        "org must be an IMS org id: 24 letters or digits, then @AdobeOrg.",
        "credential must be 1 to 64 letters, digits, hyphens or underscores.",
        "scope must name 1 to 64 scopes, or be omitted.",
        "scope has a character that RFC 6749 section 3.3 does not allow, or is too long.",
        *[LACKS_REQUESTED] * 2,
        HAS_NONE_ALLOWED,
    ]
