"""Which JWTs are a caller: by subject, namespace and claims, exactly as the policy says."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.claim import compared_claims
from app.domain.errors import UnknownCallerError
from app.domain.identity import JwtIdentity
from app.domain.match_document import MAX_CLAIM_VALUES
from app.domain.plain_document import PolicyError
from app.domain.policy import Policy
from app.domain.policy_document import parse_policy

ISSUER, OTHER = "https://issuer.test", "https://other.test"


def policy(**matches: dict[str, Any]) -> Policy:
    """A policy with these callers, by their matches; the issuer is that of the tests unless given."""
    trusted: dict[str, Any] = {"audience": ["one", "two"], "jwks_url": "https://issuer.test/jwks"}
    return parse_policy(
        {
            "version": 1,
            "issuers": [trusted | {"issuer": name} for name in (ISSUER, OTHER)],
            "callers": [
                {"name": name, "match": {"issuer": ISSUER} | match, "allow": [{"orgs": ["*"]}]}
                for name, match in matches.items()
            ],
        },
        "v",
    )


def found(policy: Policy, subject: str = "a", issuer: str = ISSUER, **claims: Any) -> str:
    """The name of the caller of a JWT with these claims, or the reason why it has none."""
    namespace: str | None = claims.pop("namespace", None)
    names = next(trusted.claims for trusted in policy.issuers if trusted.issuer == issuer)
    try:
        return policy.caller(JwtIdentity(issuer, subject, 1.0, namespace, compared_claims(claims, names))).name
    except UnknownCallerError as refused:
        return refused.reason.value


def test_audiences_may_be_a_list() -> None:
    """An issuer has the audiences of the list, in order."""
    assert [issuer.audiences for issuer in policy(one={"subject": "a"}).issuers] == [("one", "two")] * 2


def test_a_list_of_subjects_is_one_caller() -> None:
    """Each listed subject of the issuer is the caller, and no other one is."""
    listed = policy(one={"subject": ["a", "b"]}, two={"subject": "c"})
    assert [found(listed, subject) for subject in ("a", "b", "c", "d", "A", "")] == [
        *("one", "one", "two"),
        *("caller_unknown",) * 3,
    ]
    assert found(listed, "a", OTHER) == "caller_unknown"


CLAIMED = {"claims": {"team": ["red", "blue"], "verified": True, "project": 7}}


@pytest.mark.parametrize(
    ("claims", "caller"),
    [
        ({"team": "red", "verified": True, "project": 7}, "one"),
        ({"team": "blue", "verified": True, "project": 7, "more": "x"}, "one"),
        ({"team": ["green", "red"], "verified": True, "project": 7}, "one"),
        ({"team": "red", "verified": True}, None),
        ({"team": "green", "verified": True, "project": 7}, None),
        ({"team": "Red", "verified": True, "project": 7}, None),
        ({"team": "red ", "verified": True, "project": 7}, None),
        ({"team": "red,blue", "verified": True, "project": 7}, None),
        ({"team": [], "verified": True, "project": 7}, None),
        ({"team": [["red"]], "verified": True, "project": 7}, None),
        ({"team": {"red": 1}, "verified": True, "project": 7}, None),
        ({"team": None, "verified": True, "project": 7}, None),
        ({"team": "red", "verified": 1, "project": 7}, None),
        ({"team": "red", "verified": "true", "project": 7}, None),
        ({"team": "red", "verified": False, "project": 7}, None),
        ({"team": "red", "verified": True, "project": "7"}, None),
        ({"team": "red", "verified": True, "project": 7.0}, None),
        ({"team": "red", "verified": True, "project": True}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("also", [{}, {"subject": "a"}, {"namespace": "space"}])
def test_all_claims_must_have_one_of_the_values(
    claims: dict[str, Any], caller: str | None, also: dict[str, str]
) -> None:
    """Name, type and value are compared exactly; a list in the JWT matches if it contains a value of the policy."""
    assert found(policy(one={**CLAIMED, **also}), namespace="space", **claims) == (caller or "caller_unknown")


def test_claims_count_only_with_their_issuer_and_subject() -> None:
    """The same claims from another issuer, or for another subject, are not the caller."""
    claims: dict[str, Any] = {"team": "red", "verified": True, "project": 7}
    assert found(policy(one=CLAIMED), issuer=OTHER, **claims) == "caller_unknown"
    assert found(policy(one={**CLAIMED, "subject": "b"}), **claims) == "caller_unknown"


@pytest.mark.parametrize(
    "matches",
    [
        ({"subject": "a"}, {"claims": {"team": "red"}}),
        ({"subject": "a", "claims": {"team": "red"}}, {"subject": "a", "claims": {"project": 7}}),
        ({"claims": {"team": "red"}}, {"claims": {"project": 7}}),
        ({"namespace": "space"}, {"claims": {"team": "red"}}),
    ],
)
def test_a_jwt_that_fits_two_callers_is_none_of_them(matches: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Neither wins, in either order."""
    for one, two in (matches, matches[::-1]):
        both = policy(one=one, two=two)
        assert found(both, team="red", project=7, namespace="space") == "caller_ambiguous"


def test_a_subject_has_precedence_over_a_namespace() -> None:
    """As before claims existed: the caller that names the subject is found, not the one of its namespace."""
    both = policy(one={"namespace": "space"}, two={"subject": "a"})
    assert (found(both, "a", namespace="space"), found(both, "b", namespace="space")) == ("two", "one")


@pytest.mark.parametrize(
    "match", [{"subject": []}, {"subject": [], "claims": {"team": "red"}}, {"claims": {"team": []}}]
)
def test_an_empty_list_matches_nothing(match: dict[str, Any]) -> None:
    """Taking the last value away takes the right away, and never widens what is left; the file is valid."""
    assert found(policy(one=match), team="red") == "caller_unknown"


@pytest.mark.parametrize(
    ("match", "place"),
    [
        ({"subject": "a", "namespace": "space"}, "match"),
        ({"subject": ["a", "a\n"]}, "match.subject[1]"),
        ({"claims": "red"}, "match.claims"),
        ({"claims": {"team": 1.5}}, "match.claims.team"),
        ({"claims": {"team": {"a": 1}}}, "match.claims.team"),
        ({"claims": {"team": [["red"]]}}, "match.claims.team"),
        ({"claims": {"": "red"}}, "match.claims"),
        ({"claims": {"sub": "a"}}, "match.claims"),
        ({"claims": {"iss": "a"}}, "match.claims"),
    ],
)
def test_a_bad_match_is_refused_by_its_place(match: dict[str, Any], place: str) -> None:
    """What cannot be compared exactly is refused, and never read as wider."""
    with pytest.raises(PolicyError) as refused:
        policy(one=match)
    assert refused.value.place == f"callers[0].{place}"


@pytest.mark.parametrize("match", [{"subject": ["b", "a"]}, {"claims": {"team": ["red", "blue"]}}])
def test_two_callers_must_not_have_the_same_match(match: dict[str, Any]) -> None:
    """The same subject, or the same claims, for two callers is a mistake in the file."""
    with pytest.raises(PolicyError, match="earlier caller"):
        policy(one=match, two={**match, **({"subject": "a"} if "subject" in match else {})})


def test_two_callers_without_any_value_left_are_valid() -> None:
    """Taking the last value away from two callers does not make them repetitions of each other."""
    assert found(policy(one={"claims": {"team": []}}, two={"claims": {"team": []}}), team="red") == "caller_unknown"


def test_a_claim_has_a_bounded_number_of_values() -> None:
    """A list of more values is a bad policy, so that no request compares with thousands."""
    policy(a={"claims": {"group": [str(number) for number in range(MAX_CLAIM_VALUES)]}})
    with pytest.raises(PolicyError, match="values"):
        policy(a={"claims": {"group": [str(number) for number in range(MAX_CLAIM_VALUES + 1)]}})
