"""What changes of callers and issuers, besides their rights."""

from __future__ import annotations

from dataclasses import replace

from app.domain.policy import Caller, Policy, Rule
from app.domain.policy_identities import OtherChange, other_changes
from app.domain.rate_limit import RateLimit
from tests.factories import ISSUER, ORG

NOW = 1_900_000_000.0
DIGEST, OTHER = b"a" * 32, b"b" * 32


def changes(old: Caller | None, new: Caller | None) -> list[tuple[str, str]]:
    """Direction and words of the changes from one caller to another."""
    before, after = (Policy([] if caller is None else [caller]) for caller in (old, new))
    return [(change.direction, change.what) for change in other_changes(before, after, NOW)]


def test_callers_and_issuers_are_added_and_removed() -> None:
    """Each is named once, whatever it has; an issuer's changed settings are named, too."""
    caller = Caller("a", (Rule(None),), frozenset({DIGEST}))
    assert changes(None, caller) == [("is", "added")]
    assert changes(caller, None) == [("is", "removed")]
    none, one = Policy([]), Policy([], (ISSUER,))
    other = Policy([], (replace(ISSUER, audiences=("x",), claims=frozenset({"group"})),))
    named = f"issuer {ISSUER.issuer}"
    assert list(other_changes(none, one, NOW)) == [OtherChange(named, "is", "added")]
    assert list(other_changes(one, none, NOW)) == [OtherChange(named, "is", "removed")]
    assert list(other_changes(one, other, NOW)) == [OtherChange(named, "changes", "audience")]


def test_each_way_to_prove_a_caller_is_named() -> None:
    """Keys by their digest and end, JWTs by subject, namespace and claims."""
    claims = frozenset({frozenset({("group", "str", "x"), ("group", "str", "y")})})
    old = Caller("a", (), frozenset({DIGEST}), frozenset({("i", "s")}), claims=claims)
    new = Caller(
        "a", (), frozenset({DIGEST}), namespaces=frozenset({("i", "n")}), api_keys_end={DIGEST: NOW + 1}
    )  # fmt: skip
    assert changes(old, new) == [
        ("loses", "JWTs of i for the subject s, with group x or y"),
        ("loses", "the API key with the SHA-256 6161616161616161…"),
        ("gains", "JWTs of i for the namespace n"),
        ("gains", "the API key with the SHA-256 6161616161616161…, until 2030-03-17T17:46:41Z"),
    ]
    bare = Caller("a", (), issuer="i", claims=claims)
    assert changes(Caller("a", ()), bare) == [("gains", "JWTs of i, with group x or y")]
    unmatched = Caller("a", (), issuer="i", claims=frozenset({frozenset()}))
    assert [direction for direction, _ in changes(bare, unmatched)] == ["loses", "gains"]


def test_a_key_that_has_ended_does_not_count() -> None:
    """Removing it changes nothing."""
    ended = Caller("a", (), frozenset({DIGEST, OTHER}), api_keys_end={OTHER: NOW})
    assert changes(ended, Caller("a", (), frozenset({DIGEST}))) == []


def test_limits_and_audit_rules_are_named() -> None:
    """A limit with its number and period, audit rules as such."""
    old = Caller("a", (), rate_limit=RateLimit(5, 1))
    new = Caller("a", (), audit_rules=(Rule(frozenset({ORG})),))
    assert changes(old, new) == [
        ("changes", "its rate limit from 5/s to none"), ("changes", "its rules with mode audit")
    ]  # fmt: skip
