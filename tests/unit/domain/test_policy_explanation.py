"""Explanations of a policy agree with its decisions."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from app.domain.authorisation import authorise
from app.domain.errors import ForbiddenError
from app.domain.names import CredentialName, CredentialRef, Scope
from app.domain.policy import Action, Caller, Policy, Rule
from app.domain.policy_ends import caller_without_ended
from app.domain.policy_explanation import AccessRequest, NearestRule, explain_access, who_may
from tests.factories import ORG, OTHER_ORG

NOW = 1_900_000_000.0
NAMES = [CredentialName("default"), CredentialName("other")]
SCOPES = [Scope("a"), Scope("b"), Scope("c")]
ACTIONS = list(Action)
REFS = [CredentialRef(org, name) for org in (ORG, OTHER_ORG) for name in NAMES]

some_scopes = st.frozensets(st.sampled_from(SCOPES), min_size=1)
rules = st.builds(
    Rule,
    orgs=st.none() | st.frozensets(st.sampled_from([ORG, OTHER_ORG]), min_size=1),
    credentials=st.frozensets(st.sampled_from(NAMES), min_size=1),
    scopes=st.none() | some_scopes,
    actions=st.frozensets(st.sampled_from(ACTIONS), min_size=1),
    not_after=st.sampled_from([None, None, NOW - 1, NOW, NOW + 1]),
)
callers = st.builds(
    lambda allow, audited: Caller("a", tuple(allow), frozenset({b"digest"}), audit_rules=tuple(audited)),
    st.lists(rules, min_size=1, max_size=4),
    st.lists(rules, max_size=2),
)
requests = st.builds(
    AccessRequest,
    st.sampled_from(ACTIONS),
    st.sampled_from(REFS),
    st.none() | some_scopes.map(lambda names: tuple(sorted(names))),
)


def is_allowed(caller: Caller, request: AccessRequest) -> bool:
    """The policy's own decision."""
    try:
        authorise(caller_without_ended(caller, NOW), request.action, request.ref, request.scopes)
    except ForbiddenError:
        return False
    return True


def completed(nearest: NearestRule) -> Rule:
    """The rule with everything that it lacked."""
    rule, missing = nearest.rule, {lack.field: frozenset(lack.values) for lack in nearest.missing}
    return replace(
        rule,
        orgs=None
        if rule.orgs is None
        else rule.orgs | {org for org in (ORG, OTHER_ORG) if org in missing.get("orgs", ())},
        credentials=rule.credentials | {name for name in NAMES if name in missing.get("credentials", ())},
        scopes=None
        if rule.scopes is None
        else rule.scopes | {name for name in SCOPES if name in missing.get("scopes", ())},
        not_after=None if "not_after" in missing else rule.not_after,
        actions=rule.actions | {action for action in ACTIONS if action in missing.get("actions", ())},
    )


@given(callers, requests)
def test_an_explanation_is_the_decision(caller: Caller, request: AccessRequest) -> None:
    """A request is explained as allowed exactly if the policy allows it, and says otherwise what is missing."""
    found = explain_access(caller, request, NOW)
    assert found.allowed is is_allowed(caller, request)
    assert (found.nearest is None) is found.allowed


@given(callers, requests)
def test_the_nearest_rule_lacks_what_is_named_and_nothing_else(caller: Caller, request: AccessRequest) -> None:
    """A refused request is allowed once the nearest rule is given what it lacks."""
    found = explain_access(caller, request, NOW)
    if found.nearest is None:
        return
    others = [rule for rule in caller.rules if rule is not found.nearest.rule]
    is_audited = any(rule is found.nearest.rule for rule in caller.audit_rules)
    assert [lack.values for lack in found.nearest.missing if lack.field == "mode"] == [("enforce",)] * is_audited
    assert is_allowed(Caller("a", (*others, completed(found.nearest))), request)


@given(callers)
def test_a_list_of_callers_agrees_with_every_decision(caller: Caller) -> None:
    """For each org, credential and action, a caller is listed exactly if the policy allows it."""
    policy = Policy([caller])
    for action in ACTIONS:
        for ref in REFS:
            listed = ref.name in {access.credential for access in who_may(policy, ref.org, {action}, NOW)}
            assert listed is is_allowed(caller, AccessRequest(action, ref))


def test_a_caller_without_a_credential_may_have_nothing() -> None:
    """A caller that no API key and no JWT matches is denied, although a rule allows the request; it is not listed."""
    caller = Caller("a", (Rule(None),))
    found = explain_access(caller, AccessRequest(Action.VEND, CredentialRef(ORG)), NOW)
    assert (found.allowed, found.has_credential, len(found.rules)) == (False, False, 1)
    assert who_may(Policy([caller]), ORG, set(Action), NOW) == ()


def test_a_rule_that_matches_is_nearer_than_one_for_another_tenant() -> None:
    """If two rules lack one thing each, the nearest is the one for the requested org and credential."""
    other, matching = Rule(frozenset({OTHER_ORG})), Rule(frozenset({ORG}), actions=frozenset({Action.STATUS}))
    found = explain_access(Caller("a", (other, matching)), AccessRequest(Action.VEND, CredentialRef(ORG)), NOW)
    assert found.nearest is not None
    assert found.nearest.rule is matching


def test_a_rule_that_is_not_in_force_is_nearer_than_one_that_says_less() -> None:
    """A rule that has ended, or has the mode audit, is named before a rule in force that lacks one thing."""
    lacking, whole = Rule(frozenset({ORG}), actions=frozenset({Action.STATUS})), Rule(frozenset({ORG}))
    for caller in (
        Caller("a", (lacking,), audit_rules=(whole,)),
        Caller("a", (lacking, replace(whole, not_after=NOW))),
    ):
        found = explain_access(caller, AccessRequest(Action.VEND, CredentialRef(ORG)), NOW)
        assert found.nearest is not None
        assert [lack.field for lack in found.nearest.missing] in (["mode"], ["not_after"])
