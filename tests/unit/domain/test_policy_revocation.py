"""Taking a right away from the policy always takes effect: what is left out or blank allows nothing, and is valid."""

from __future__ import annotations

import pytest

from app.domain.authorisation import authorise
from app.domain.errors import ForbiddenError, UnauthenticatedError
from app.domain.identity import ApiKeyIdentity, JwtIdentity
from app.domain.names import DEFAULT_CREDENTIAL, CredentialRef, OrgId, Scope
from app.domain.policy import Action, Caller, Policy
from app.domain.policy_document import parse_policy
from tests.support.policies import ABSENT, CLUSTER, GOOD, HASH, ORG, changed

REF = CredentialRef(OrgId(ORG), DEFAULT_CREDENTIAL)
KEY = ApiKeyIdentity(bytes.fromhex(HASH))
JWT = JwtIdentity(CLUSTER, "system:serviceaccount:marketing:export", 0.0, "marketing")
BLANK: tuple[object, ...] = (None, [], "", {})
NOTHING = (ABSENT, *BLANK)


def refused(caller: Caller, action: Action, scopes: tuple[Scope, ...] | None = None) -> bool:
    """Whether `caller` may not do `action` with the org's default credential."""
    try:
        authorise(caller, action, REF, scopes)
    except ForbiddenError:
        return True
    return False


def has_nothing(caller: Caller) -> bool:
    """Whether no action of `caller` is allowed, with any scopes, and it sees no org."""
    return all(
        refused(caller, action) and refused(caller, action, (Scope("openid"),)) for action in Action
    ) and not any(caller.named(action) or caller.everywhere(action) for action in Action)


def test_the_unchanged_policy_allows_both_callers() -> None:
    """Without a change, the API key and the JWT of this module are allowed to vend."""
    policy = parse_policy(GOOD, "v")
    assert not refused(policy.caller(KEY), Action.VEND)
    assert not refused(policy.caller(JWT), Action.VEND)
    assert policy.notes == ()


@pytest.mark.parametrize("value", [*NOTHING, [None], [{}]])
def test_a_caller_without_rules_has_nothing(value: object) -> None:
    """With `allow` left out or blank, the caller is known and everything is denied to it."""
    policy = parse_policy(changed("callers.0.allow", value), "v")
    assert has_nothing(policy.caller(KEY))
    assert policy.notes == ("callers[0].allow: allows nothing to journey-sender",)


@pytest.mark.parametrize("value", [*NOTHING, [None], [""]])
def test_a_rule_without_orgs_allows_nothing(value: object) -> None:
    """With `orgs` left out or blank, a rule is for no org, never for all."""
    policy = parse_policy(changed("callers.0.allow.0.orgs", value), "v")
    assert has_nothing(policy.caller(KEY))
    assert policy.notes[0] == "callers[0].allow[0]: allows nothing, because a list is empty"


@pytest.mark.parametrize("name", ["credentials", "scopes", "actions"])
@pytest.mark.parametrize("value", [*BLANK, [None], [""]])
def test_a_blank_list_of_a_rule_is_not_its_default(name: str, value: object) -> None:
    """A list that has a default if it is left out allows nothing if it is blank."""
    policy = parse_policy(changed(f"callers.0.allow.0.{name}", value), "v")
    assert has_nothing(policy.caller(KEY))


def test_a_rule_that_allows_nothing_adds_nothing_to_others() -> None:
    """The actions of a rule without scopes are not added to another rule with scopes."""
    document = changed("callers.0.allow.0.actions", ["purge"])
    document["callers"][0]["allow"].append({"orgs": [ORG], "scopes": [], "actions": ["vend"]})
    caller = parse_policy(document, "v").caller(KEY)
    assert not refused(caller, Action.PURGE)
    assert refused(caller, Action.VEND)


@pytest.mark.parametrize("value", [*NOTHING, [None], [""]])
def test_a_caller_without_keys_has_no_key(value: object) -> None:
    """With `api_key_sha256` left out or blank, the key of before is unknown."""
    policy = parse_policy(changed("callers.0.match.api_key_sha256", value), "v")
    with pytest.raises(UnauthenticatedError):
        policy.caller(KEY)
    assert policy.notes == ("callers[0].match: matches no one, so journey-sender is refused",)


@pytest.mark.parametrize("value", NOTHING)
@pytest.mark.parametrize("path", ["callers.1.match", "callers.1.match.issuer", "callers.1.match.subject"])
def test_an_incomplete_match_matches_no_jwt(path: str, value: object) -> None:
    """A match without issuer or subject matches no JWT, because an issuer alone does not mean all its subjects."""
    policy = parse_policy(changed(path, value), "v")
    with pytest.raises(ForbiddenError):
        policy.caller(JWT)
    assert policy.notes[-1] == "callers[1].match: matches no one, so nightly-export is refused"


@pytest.mark.parametrize("value", NOTHING)
@pytest.mark.parametrize("name", ["issuer", "namespace"])
def test_a_match_without_a_namespace_matches_no_jwt(name: str, value: object) -> None:
    """A match without issuer or namespace matches no JWT either."""
    document = changed("callers.1.match", {"issuer": CLUSTER, "namespace": "marketing"})
    assert parse_policy(document, "v").caller(JWT).name == "nightly-export"
    if value is ABSENT:
        del document["callers"][1]["match"][name]
    else:
        document["callers"][1]["match"][name] = value
    with pytest.raises(ForbiddenError):
        parse_policy(document, "v").caller(JWT)


@pytest.mark.parametrize("value", NOTHING)
@pytest.mark.parametrize("part", [{"subject": JWT.subject}, {"namespace": "marketing"}])
def test_callers_of_a_removed_issuer_are_no_one(part: dict[str, str], value: object) -> None:
    """Without its issuer a caller is refused, even for a JWT that was verified under the policy before."""
    document = changed("issuers", value)
    document["callers"][1]["match"] = {"issuer": CLUSTER, **part}
    policy = parse_policy(document, "v")
    assert policy.issuers == ()
    with pytest.raises(ForbiddenError):
        policy.caller(JWT)
    assert policy.caller(KEY).name == "journey-sender"
    assert policy.notes[0] == "callers[1].match.issuer: is not one of the policy's issuers, so no JWT matches"


@pytest.mark.parametrize("value", [*NOTHING, [None]])
def test_a_policy_without_callers_is_valid(value: object) -> None:
    """With `callers` left out or blank, there is no caller."""
    policy = parse_policy(changed("callers", value), "v")
    assert policy.callers == ()
    with pytest.raises(UnauthenticatedError):
        policy.caller(KEY)


def test_rules_that_still_allow_something_have_no_notes() -> None:
    """A caller with API keys and the wildcard needs no issuer, and there is nothing to note."""
    document = changed("callers.0.allow", [{"orgs": ["*"]}])
    del document["issuers"], document["callers"][1]
    policy: Policy = parse_policy(document, "v")
    assert not refused(policy.caller(KEY), Action.VEND)
    assert policy.notes == ()
