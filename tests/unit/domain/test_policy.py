"""Decisions of the policy: deny by default, rules add up, all refusals are the same."""

from __future__ import annotations

import hashlib

import pytest

from app.domain.authorisation import authorise
from app.domain.claim import Claim
from app.domain.errors import ForbiddenError, UnauthenticatedError, UnknownCallerError
from app.domain.identity import ApiKeyIdentity, JwtIdentity
from app.domain.names import CredentialName, CredentialRef, OrgId, Scope
from app.domain.policy import Action, Caller, Permission, Policy, Rule
from app.domain.refusal_reason import RefusalReason, SignedFor

ORG, OTHER = OrgId("A" * 24 + "@AdobeOrg"), OrgId("B" * 24 + "@AdobeOrg")
REF = CredentialRef(ORG)
READ, WRITE = Scope("read"), Scope("write")
SECOND = CredentialName("second")


def caller(*rules: Rule) -> Caller:
    """A caller with these rules."""
    return Caller(name="caller", rules=rules)


def rule(*orgs: OrgId, scopes: set[Scope] | None = None, actions: set[Action] | None = None) -> Rule:
    """A rule for these orgs, or for all."""
    return Rule(
        orgs=frozenset(orgs) or None,
        scopes=None if scopes is None else frozenset(scopes),
        actions=frozenset(actions or {Action.VEND, Action.REPORT}),
    )


def test_without_a_rule_nothing_is_permitted() -> None:
    """A caller without a matching rule has no permission at all."""
    assert caller().permission(REF) is None
    assert caller(rule(OTHER)).permission(REF) is None


def test_a_rule_is_for_the_credentials_it_names() -> None:
    """A rule for the default credential does not apply to another one of the same org."""
    assert caller(rule(ORG)).permission(CredentialRef(ORG, SECOND)) is None


def test_a_rule_for_every_org_matches_any() -> None:
    """The wildcard permits all orgs, known or unknown."""
    assert caller(rule()).permission(REF) == caller(rule(ORG)).permission(REF)


def test_rules_of_one_credential_add_up() -> None:
    """A permission has the scopes and actions of all matching rules, including the wildcard's."""
    permitted = caller(
        rule(ORG, scopes={READ}), rule(scopes={WRITE}, actions={Action.PURGE}), rule(OTHER, actions={Action.STATUS})
    ).permission(REF)
    assert permitted == Permission(frozenset({Action.VEND, Action.REPORT, Action.PURGE}), frozenset({READ, WRITE}))


@pytest.mark.parametrize("order", [1, -1])
def test_a_rule_without_scopes_allows_all_of_them(order: int) -> None:
    """All scopes and some scopes add up to all, in any order of the rules."""
    rules = (rule(ORG, scopes={READ}), rule(ORG, actions={Action.STATUS}))[::order]
    assert caller(*rules).permission(REF) == Permission(frozenset({Action.VEND, Action.REPORT, Action.STATUS}), None)


@pytest.mark.parametrize(
    ("rules", "action", "scopes"),
    [
        ((), Action.VEND, None),
        ((rule(OTHER),), Action.VEND, None),
        ((rule(ORG),), Action.PURGE, None),
        ((rule(ORG),), Action.STATUS, None),
        ((rule(ORG, actions={Action.PURGE}),), Action.VEND, None),
        ((rule(ORG, scopes={READ}),), Action.VEND, (WRITE,)),
        ((rule(ORG, scopes={READ}),), Action.VEND, (READ, WRITE)),
    ],
)
def test_every_refusal_is_the_same(rules: tuple[Rule, ...], action: Action, scopes: tuple[Scope, ...] | None) -> None:
    """Whatever the reason, the answer is one constant text."""
    with pytest.raises(ForbiddenError) as refused:
        authorise(caller(*rules), action, REF, scopes)
    assert refused.value.detail == ForbiddenError.DETAIL


@pytest.mark.parametrize(
    ("allowed", "asked", "label"),
    [
        (None, None, "*"),
        ({WRITE, READ}, None, "< read write"),
        (None, (READ,), "= read"),
        ({READ, WRITE}, (WRITE,), "= write"),
    ],
)
def test_the_selection_follows_from_policy_and_request(
    allowed: set[Scope] | None, asked: tuple[Scope, ...] | None, label: str
) -> None:
    """Requested scopes are exact; without a request only the policy limits the scopes."""
    assert authorise(caller(rule(ORG, scopes=allowed)), Action.VEND, REF, asked).label == label


def test_named_and_everywhere_list_the_credentials_of_the_rules() -> None:
    """Rules that name orgs are listed with their credentials; the wildcard's are listed by credential name."""
    both = frozenset({CredentialName("default"), SECOND})
    someone = caller(
        Rule(orgs=frozenset({ORG}), credentials=both, actions=frozenset({Action.STATUS})),
        Rule(orgs=frozenset({OTHER})),
        Rule(orgs=None, credentials=frozenset({SECOND}), actions=frozenset({Action.STATUS})),
    )
    assert someone.named(Action.STATUS) == {REF, CredentialRef(ORG, SECOND)}
    assert someone.named(Action.VEND) == {CredentialRef(OTHER)}
    assert someone.everywhere(Action.STATUS) == {SECOND}
    assert someone.everywhere(Action.VEND) == frozenset()


def test_an_api_key_is_found_by_its_digest() -> None:
    """Each of a caller's keys identifies it; any other key is unauthenticated."""
    digests = [hashlib.sha256(key).digest() for key in (b"one", b"two", b"three")]
    known = Caller(name="known", rules=(), api_key_digests=frozenset(digests[:2]))
    policy = Policy([known])
    assert [policy.caller(ApiKeyIdentity(digest)) for digest in digests[:2]] == [known, known]
    for unknown in (digests[2], b"", digests[0][:8] + digests[1][8:], digests[0][:8]):
        with pytest.raises(UnauthenticatedError):
            policy.caller(ApiKeyIdentity(unknown))


def test_a_subject_that_the_policy_does_not_name_is_forbidden() -> None:
    """Issuer and subject must both match; otherwise the caller is authenticated, but forbidden."""
    known = Caller(name="known", rules=(), subjects=frozenset({("issuer", "subject")}))
    policy = Policy([known])
    assert policy.caller(JwtIdentity("issuer", "subject", 0.0)) is known
    for issuer, subject in (("issuer", "other"), ("other", "subject"), ("subject", "issuer")):
        with pytest.raises(ForbiddenError):
            policy.caller(JwtIdentity(issuer, subject, 0.0))


def test_a_namespace_matches_all_its_service_accounts() -> None:
    """A service account is the caller that names its namespace, unless another caller names its subject."""
    whole = Caller(name="whole", rules=(), namespaces=frozenset({("issuer", "marketing")}))
    one = Caller(name="one", rules=(), subjects=frozenset({("issuer", "special")}))
    policy = Policy([whole, one])
    assert policy.caller(JwtIdentity("issuer", "any", 0.0, "marketing")) is whole
    assert policy.caller(JwtIdentity("issuer", "special", 0.0, "marketing")) is one
    for issuer, namespace in (("issuer", "marketing-x"), ("other", "marketing"), ("issuer", None)):
        with pytest.raises(ForbiddenError):
            policy.caller(JwtIdentity(issuer, "any", 0.0, namespace))


A, B, C, OTHER_CLAIM = (("group", "str", value) for value in ("a", "b", "c", "other"))
A_OR_B, ONLY_C = frozenset({A, B}), frozenset({C})


@pytest.mark.parametrize(("issuer", "claims", "found"), [
    ("issuer", {A, C}, True), ("issuer", {B, C}, True), ("issuer", {A, B, C, OTHER_CLAIM}, True),
    ("issuer", {A, B}, False), ("issuer", {C}, False), ("issuer", {OTHER_CLAIM}, False), ("issuer", set(), False),
    ("other", {A, C}, False),
])  # fmt: skip
def test_a_caller_of_claims_alone_needs_one_of_each_requirement(issuer: str, claims: set[Claim], found: bool) -> None:
    """For its issuer only; further claims of the JWT do not matter."""
    known = Caller(name="known", rules=(), issuer="issuer", claims=frozenset({A_OR_B, ONLY_C}))
    identity = JwtIdentity(issuer, "any", 0.0, None, frozenset(claims))
    if found:
        assert Policy([known]).caller(identity) is known
    else:
        with pytest.raises(UnknownCallerError):
            Policy([known]).caller(identity)


@pytest.mark.parametrize(("subject", "namespace", "claims", "found"), [
    ("one", None, {C}, "one"), ("one", None, set(), None), ("any", "marketing", {C}, "whole"),
    ("any", "marketing", {A}, None), ("any", None, {C}, None), ("any", "other", {C}, None),
])  # fmt: skip
def test_claims_narrow_a_subject_and_a_namespace(
    subject: str, namespace: str | None, claims: set[Claim], found: str | None
) -> None:
    """A caller with a subject or a namespace needs its claims besides, and is not found by the claims alone."""
    narrowed = frozenset({ONLY_C})
    policy = Policy([
        Caller("one", (), subjects=frozenset({("issuer", "one")}), issuer="issuer", claims=narrowed),
        Caller("whole", (), namespaces=frozenset({("issuer", "marketing")}), issuer="issuer", claims=narrowed),
    ])  # fmt: skip
    identity = JwtIdentity("issuer", subject, 0.0, namespace, frozenset(claims))
    if found is not None:
        assert policy.caller(identity).name == found
    else:
        with pytest.raises(UnknownCallerError):
            policy.caller(identity)


@pytest.mark.parametrize(("claims", "reason", "callers"), [
    (set(), RefusalReason.CALLER_UNKNOWN, ()), ({A, C}, RefusalReason.CALLER_AMBIGUOUS, ("first", "second")),
])  # fmt: skip
def test_the_operator_learns_whom_a_refused_jwt_was_signed_for(
    claims: set[Claim], reason: RefusalReason, callers: tuple[str, ...]
) -> None:
    """A JWT that fits no caller or several is refused, with its issuer and subject and the callers that it fits."""
    policy = Policy([
        Caller("second", (), issuer="issuer", claims=frozenset({A_OR_B})),
        Caller("first", (), issuer="issuer", claims=frozenset({ONLY_C})),
    ])  # fmt: skip
    with pytest.raises(UnknownCallerError) as refused:
        policy.caller(JwtIdentity("issuer", "subject", 0.0, None, frozenset(claims)))
    assert refused.value.signed_for == SignedFor("issuer", "subject")
    assert (refused.value.reason, refused.value.callers) == (reason, callers)


@pytest.mark.parametrize(("orgs", "credential", "applies"), [
    ({ORG}, "default", True), ({ORG}, "second", False), ({OTHER}, "default", False), ({OTHER}, "second", False),
    (None, "default", True), (None, "second", False),
])  # fmt: skip
def test_a_rule_applies_to_its_orgs_and_credentials(orgs: set[OrgId] | None, credential: str, applies: bool) -> None:
    """Both must be named; a rule without orgs applies to all orgs."""
    of = Rule(None if orgs is None else frozenset(orgs))
    assert of.matches(CredentialRef(ORG, CredentialName(credential))) is applies


def test_a_policy_has_no_version_unless_it_comes_from_a_file() -> None:
    """One that is made in a test or for a command has the empty version."""
    assert Policy([]).version == ""


def test_a_caller_is_shown_without_its_key_digests() -> None:
    """A caller's repr in a log does not contain its key digests."""
    digest = hashlib.sha256(b"one").digest()
    assert repr(digest) not in repr(Caller(name="known", rules=(), api_key_digests=frozenset({digest})))
