"""The difference of two policies is what the callers can and cannot do any more."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from app.domain.names import CredentialName, CredentialRef, OrgId, Scope
from app.domain.policy import Action, Caller, Policy, Rule
from app.domain.policy_comparison import EVERY_ORG, EVERY_SCOPE, RightsChange, rights_changes
from app.domain.policy_ends import caller_without_ended
from tests.factories import ORG, OTHER_ORG

NOW = 1_900_000_000.0
ENDS = [None, NOW - 10, NOW, NOW + 10, NOW + 20]
TIMES = [NOW, NOW + 5, NOW + 10, NOW + 15, NOW + 20, NOW + 1000]
UNNAMED = OrgId("9" * 24 + "@AdobeOrg")
NAMES = [CredentialName("default"), CredentialName("other")]
REFS = [CredentialRef(org, name) for org in (ORG, OTHER_ORG, UNNAMED) for name in NAMES]
SCOPES = [Scope("a"), Scope("b"), Scope("unnamed")]

rules = st.builds(
    Rule,
    orgs=st.none() | st.frozensets(st.sampled_from([ORG, OTHER_ORG]), min_size=1),
    credentials=st.frozensets(st.sampled_from(NAMES), min_size=1),
    scopes=st.none() | st.frozensets(st.sampled_from(SCOPES[:2]), min_size=1),
    actions=st.frozensets(st.sampled_from([Action.VEND, Action.PURGE]), min_size=1),
    not_after=st.sampled_from(ENDS),
)
policies = st.lists(rules, max_size=3).map(lambda found: Policy([Caller("a", tuple(found), frozenset({b"digest"}))]))


def rights(policy: Policy, ref: CredentialRef, at: float) -> set[str]:
    """The actions and scopes of the caller at a time; scopes only if it may vend."""
    permission = caller_without_ended(policy.callers[0], at).permission(ref)
    if permission is None:
        return set()
    return {
        *permission.actions,
        *(scope for scope in SCOPES if permission.scopes is None or scope in permission.scopes),
    }


def changed(changes: Iterable[RightsChange], direction: str, ref: CredentialRef, at: float) -> set[str]:
    """The actions and scopes that the changes name for this credential and time."""
    found = set[str]()
    for change in changes:
        start, end = change.period.start or NOW, change.period.end or at + 1
        is_of_org = ref.org in change.orgs or (EVERY_ORG in change.orgs and ref.org not in change.other_orgs)
        if change.period.direction == direction and change.credential == ref.name and is_of_org and start <= at < end:
            found.update(change.actions, change.scopes)
            if EVERY_SCOPE in change.scopes:
                found.update(scope for scope in SCOPES if scope not in change.other_scopes)
    return found - {EVERY_SCOPE}


@given(policies, policies)
def test_the_changes_are_the_difference_of_the_rights_at_every_time(old: Policy, new: Policy) -> None:
    """For each org, credential and time, what is gained and lost is exactly what only one of the policies allows."""
    changes = list(rights_changes(old, new, NOW))
    for ref in REFS:
        for at in TIMES:
            before, after = rights(old, ref, at), rights(new, ref, at)
            can_vend = any(
                Action.VEND in rule.actions
                for policy in (old, new)
                for rule in caller_without_ended(policy.callers[0], NOW).rules_for(ref)
            )
            relevant = {*SCOPES, *Action} if can_vend else {*Action}
            assert changed(changes, "gains", ref, at) == (after - before) & relevant
            assert changed(changes, "loses", ref, at) == (before - after) & relevant


@given(policies)
def test_a_policy_does_not_differ_from_itself(policy: Policy) -> None:
    """There is no change without a difference, whatever the order of the rules."""
    caller = policy.callers[0]
    reordered = Policy([Caller("a", caller.rules[::-1], caller.api_key_digests)])
    assert list(rights_changes(policy, reordered, NOW)) == []


def test_a_caller_without_a_credential_has_no_rights() -> None:
    """A caller that loses its last API key loses all its rights."""
    rule = Rule(None)
    [lost] = rights_changes(Policy([Caller("a", (rule,), frozenset({b"digest"}))]), Policy([Caller("a", (rule,))]), NOW)
    assert (lost.period.direction, lost.orgs, lost.actions) == ("loses", (EVERY_ORG,), ("report", "vend"))
