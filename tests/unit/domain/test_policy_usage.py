"""The last use of API keys and rules, as the audit log shows it."""

from __future__ import annotations

import pytest

from app.domain.names import Scope
from app.domain.policy import Action, Caller, Policy, Rule
from app.domain.policy_usage import PolicyUsage, Use, Used, counted, verdict
from tests.factories import ORG, OTHER_ORG

KEY, OTHER = b"a" * 32, b"b" * 32
DAY = 86_400.0
EARLY, LATE = "2030-01-01T00:00:00Z", "2030-01-02T00:00:00Z"


def uses(caller: Caller, *noted: tuple[Use, str]) -> dict[str, str | None]:
    """The last use of each key and rule of a caller, by its name."""
    usage = PolicyUsage(Policy([caller]))
    for use, time in noted:
        usage.note(use, time)
    return {used.name: used.last_use for used in usage.all()}


def vend(**fields: str | None) -> Use:
    """A granted request of the caller for the org."""
    given: dict[str, str | None] = {"api_key": KEY.hex()[:16], "org": ORG, "credential": "default", **fields}
    return Use("a", given["api_key"], given["org"], given["credential"], "vend", str(given.get("scopes") or ""))


RULES = (
    Rule(frozenset({ORG}), place="org"), Rule(frozenset({OTHER_ORG}), place="other"), Rule(None, place="any"),
    Rule(None, scopes=frozenset({Scope("x")}), place="scope"),
    Rule(None, actions=frozenset({Action.PURGE}), place="purge"),
)  # fmt: skip


def test_a_request_uses_its_key_and_each_rule_that_allows_it() -> None:
    """The latest time counts, whatever the order of the lines; other callers' requests count for no one."""
    caller = Caller("a", RULES, frozenset({KEY, OTHER}))
    found = uses(caller, (vend(), LATE), (vend(), EARLY), (Use("b", None, ORG, "default", "vend"), LATE))
    assert found == {
        KEY.hex()[:16]: LATE, OTHER.hex()[:16]: None,
        "org": LATE, "other": None, "any": LATE, "scope": LATE, "purge": None,
    }  # fmt: skip
    assert uses(caller, (vend(scopes="x y"), EARLY))["scope"] == EARLY
    assert uses(caller, (vend(scopes="y"), EARLY))["scope"] is None
    assert uses(caller, (vend(credential="second"), EARLY))["org"] is None


def test_a_list_of_orgs_uses_the_rules_that_allow_its_action() -> None:
    """It has no org and no credential."""
    rules = (Rule(frozenset({ORG}), actions=frozenset({Action.STATUS}), place="status"), Rule(None, place="vend"))
    found = uses(Caller("a", rules, issuer="i"), (Use("a", None, None, None, "status"), LATE))
    assert found == {"status": LATE, "vend": None}


def test_a_line_that_names_no_key_is_of_the_only_one_there_is() -> None:
    """With two keys it is unknown which one was used; a caller with JWTs may have used none."""
    line = vend(api_key=None)
    assert uses(Caller("a", (), frozenset({KEY})), (line, LATE)) == {KEY.hex()[:16]: LATE}
    usage = PolicyUsage(Policy([Caller("a", (), frozenset({KEY, OTHER}))]))
    usage.note(line, LATE)
    assert [(used.last_use, used.is_known) for used in usage.all()] == [(None, False)] * 2
    assert uses(Caller("a", (), frozenset({KEY}), issuer="i"), (line, LATE)) == {KEY.hex()[:16]: None}


def test_a_rule_with_mode_audit_is_used_by_what_it_would_have_allowed() -> None:
    """Such a request uses no key and no rule in force."""
    audited = Rule(None, place="audit")
    use = Use("a", KEY.hex()[:16], ORG, "default", "vend", audit_rule="audit")
    found = uses(Caller("a", RULES[:1], frozenset({KEY}), audit_rules=(audited,)), (use, LATE))
    assert found == {KEY.hex()[:16]: None, "org": None, "audit": LATE}


def test_the_kinds_of_requests_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log with more kinds is read all the same."""
    monkeypatch.setattr("app.domain.policy_usage.MAX_REMEMBERED", 2)
    usage = PolicyUsage(Policy([Caller("a", (Rule(None, place="any"),), frozenset({KEY}))]))
    for number in range(5):
        usage.note(vend(scopes=f"s{number}"), LATE)
    assert len(usage._used_by) <= 2
    assert {used.last_use for used in usage.all()} == {LATE}


NOW = 1_893_542_400.0  # 2030-01-02T00:00:00Z


@pytest.mark.parametrize(("end", "last_use", "is_known", "since", "expected"), [
    (NOW, LATE, True, EARLY, "ended"), (NOW + 10, LATE, True, EARLY, "ending"), (NOW + 11, LATE, True, EARLY, "in_use"),
    (None, LATE, True, EARLY, "in_use"), (None, EARLY, True, EARLY, "unused"), (None, None, True, EARLY, "unused"),
    (None, None, True, LATE, "unseen"), (None, None, False, EARLY, "unknown"), (None, LATE, False, EARLY, "in_use"),
])  # fmt: skip
def test_the_verdict(end: float | None, last_use: str | None, is_known: bool, since: str, expected: str) -> None:
    """An end comes first, then a use, then whether the log can say that there was none."""
    used = Used("a", "rule", "r", end, last_use, is_known)
    assert verdict(used, since, LATE, NOW, unused_seconds=DAY, ending_seconds=10.0) == expected


def test_what_calls_for_a_change_is_counted() -> None:
    """What is in use, or cannot be said, is not."""
    assert counted(["unused", "unused", "ended", "in_use", "unseen", "unknown"]) == {
        "unused": 2, "ending": 0, "ended": 1
    }  # fmt: skip
