"""Rules and API keys end at their `not_after`."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from app.domain.authorisation import authorise
from app.domain.errors import ForbiddenError, UnauthenticatedError
from app.domain.identity import ApiKeyIdentity
from app.domain.policy import Action, Caller, Policy, Rule
from app.domain.policy_ends import ended_notes, next_end, without_ended
from app.domain.refusal_reason import RefusalReason
from tests.factories import ISSUER, ORG, OTHER_ORG, REF

END = 1_900_000_000.0
OLD, NEW = b"o" * 32, b"n" * 32
ENDING = Rule(frozenset({ORG}), not_after=END, place="callers[0].allow[0]")
CALLER = Caller(
    "journey",
    (ENDING, Rule(frozenset({OTHER_ORG}))),
    frozenset({OLD, NEW}),
    frozenset({(ISSUER.issuer, "journey")}),
    api_keys_end={OLD: END + 10},
)
OTHER = Caller("other", (Rule(None),), frozenset({b"x" * 32}))
POLICY = Policy([CALLER, OTHER], (ISSUER,), "v", ["a note"])


def test_before_the_first_end_the_policy_is_unchanged() -> None:
    """Until a `not_after` the policy is the same object, so that no remembered decision ends."""
    assert without_ended(POLICY, END - 0.001) is POLICY


def test_a_rule_allows_nothing_from_its_end_on() -> None:
    """At its `not_after` a rule no longer allows anything; the caller's other rules and other callers are unchanged."""
    caller, other = without_ended(POLICY, END).callers
    assert [authorise(one.callers[0], Action.VEND, REF).scopes for one in [without_ended(POLICY, END - 1)]] == [None]
    with pytest.raises(ForbiddenError):
        authorise(caller, Action.VEND, REF)
    authorise(caller, Action.VEND, replace(REF, org=OTHER_ORG))
    assert other is OTHER


def test_an_api_key_is_refused_from_its_end_on_with_a_reason_of_its_own() -> None:
    """An ended key is refused as expired and an unknown one as unknown; the caller's other key and JWTs still work."""
    policy = without_ended(POLICY, END + 10)
    assert policy.caller(ApiKeyIdentity(NEW)).name == "journey"
    assert policy.callers[0].subjects == CALLER.subjects
    for digest, reason in ((OLD, RefusalReason.API_KEY_EXPIRED), (b"?" * 32, RefusalReason.API_KEY_UNKNOWN)):
        with pytest.raises(UnauthenticatedError) as refused:
            policy.caller(ApiKeyIdentity(digest))
        assert refused.value.reason is reason


def test_what_else_the_policy_says_does_not_change() -> None:
    """Issuers, version and notes are those of the file."""
    policy = without_ended(POLICY, math.inf)
    assert (policy.issuers, policy.version, policy.notes) == (POLICY.issuers, "v", ("a note",))


def test_the_next_end_is_the_earliest_that_is_still_to_come() -> None:
    """Ends that have passed do not count."""
    assert [next_end(POLICY, now) for now in (END - 1, END, END + 10)] == [END, END + 10, math.inf]


def test_what_has_ended_is_listed_for_a_person() -> None:
    """Each ended rule is named by its place, and each ended key by its caller and the first digits of its SHA-256."""
    assert list(ended_notes(POLICY, END - 1)) == []
    assert list(ended_notes(POLICY, END + 10)) == [
        "callers[0].allow[0]: allows nothing since 2030-03-17T17:46:40Z",
        f"journey: the API key {OLD.hex()[:16]}… is refused since 2030-03-17T17:46:50Z",
    ]


def test_a_listed_end_is_the_moment_from_which_it_counts() -> None:
    """A rule and a key are listed from their `not_after` on, and not before."""
    assert len(list(ended_notes(POLICY, END - 0.001))) == 0
    assert len(list(ended_notes(POLICY, END))) == 1
    assert len(list(ended_notes(POLICY, END + 9.999))) == 1
    assert len(list(ended_notes(POLICY, END + 10))) == 2
