"""Rules with ``mode: audit`` allow nothing; a refusal names the one that would have allowed the request."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.authorisation import authorise, authorise_listing
from app.domain.errors import ForbiddenError
from app.domain.names import CredentialName, CredentialRef, OrgId, Scope
from app.domain.policy import Action, Caller, Rule
from tests.factories import ORG, OTHER_ORG, REF

A, B, C = Scope("a"), Scope("b"), Scope("c")
NAMES = [CredentialName("default"), CredentialName("other")]
REFS = [CredentialRef(org, name) for org in (ORG, OTHER_ORG) for name in NAMES]

rules = st.lists(
    st.builds(
        Rule,
        orgs=st.none() | st.frozensets(st.sampled_from([ORG, OTHER_ORG]), min_size=1),
        credentials=st.frozensets(st.sampled_from(NAMES), min_size=1),
        scopes=st.none() | st.frozensets(st.sampled_from([A, B, C]), min_size=1),
        actions=st.frozensets(st.sampled_from(list(Action)), min_size=1),
    ),
    max_size=3,
).map(lambda found: tuple(replace(rule, place=f"audit[{number}]") for number, rule in enumerate(found)))
requests = st.tuples(
    st.sampled_from(list(Action)), st.sampled_from(REFS), st.none() | st.sampled_from([(A,), (A, B), (A, B, C)])
)


def refusal(caller: Caller, action: Action, ref: CredentialRef, scopes: tuple[Scope, ...] | None) -> str | None:
    """The audit rule of the refusal, "none" if no rule is named, or None if the request is allowed."""
    try:
        authorise(caller, action, ref, scopes)
    except ForbiddenError as refused:
        return refused.audit_rule or "none"
    return None


@given(rules, rules, requests)
def test_an_audit_rule_changes_no_decision(
    in_force: tuple[Rule, ...],
    audited: tuple[Rule, ...],
    request: tuple[Action, CredentialRef, tuple[Scope, ...] | None],
) -> None:
    """Audit rules never allow anything; one is named exactly if the request would be allowed with them in force."""
    found = refusal(Caller("a", in_force, audit_rules=audited), *request)
    without = refusal(Caller("a", in_force), *request)
    enforced = refusal(Caller("a", in_force + audited), *request)
    assert (found is None) is (without is None)
    assert (found in {None, "none"}) is (without is None or enforced is not None)


def test_the_named_rule_is_the_first_that_would_have_sufficed() -> None:
    """A rule that would not help is not named; if only several together would help, the first of them is."""
    read, write, other = (
        Rule(frozenset({ORG}), scopes=frozenset({scope}), place=f"rule-{scope}") for scope in (A, B, C)
    )
    caller = Caller("a", (read,), audit_rules=(other, write))
    assert refusal(caller, Action.VEND, REF, (A, B)) == "rule-b"
    assert refusal(caller, Action.VEND, REF, (B, C)) == "rule-c"
    assert refusal(caller, Action.PURGE, REF, None) == "none"


def test_a_listing_names_the_audit_rule_that_would_have_allowed_it() -> None:
    """Without a rule for the action status, the refusal names an audit rule for it, if there is one."""
    status = Rule(None, actions=frozenset({Action.STATUS}), place="rule")
    authorise_listing(Caller("a", (status,)))
    for audited, place in (((status,), "rule"), ((Rule(None),), None)):
        with pytest.raises(ForbiddenError) as refused:
            authorise_listing(Caller("a", (), audit_rules=audited))
        assert refused.value.audit_rule == place


@pytest.mark.parametrize("orgs", [None, frozenset({ORG})])
def test_a_listing_needs_the_action_status(orgs: frozenset[OrgId] | None) -> None:
    """A rule for another action is not enough, whether it names orgs or is for all of them."""
    authorise_listing(Caller("a", (Rule(orgs, actions=frozenset({Action.STATUS})),)))
    for action in set(Action) - {Action.STATUS}:
        with pytest.raises(ForbiddenError):
            authorise_listing(Caller("a", (Rule(orgs, actions=frozenset({action})),)))
