"""A rule with ``mode: audit`` is logged and counted, and changes no answer."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from app.adapters.audit_log.audit_lines import AuditLines
from app.adapters.prometheus import PrometheusSink
from app.domain.events import RequestDecided
from app.domain.policy import Action, Caller, Rule
from tests.factories import ALL_ACTIONS, ORG, OTHER_ORG, make_api_key, make_caller, make_rule
from tests.support.api_in_memory import ApiInMemory
from tests.support.audit_schema import misfits

PLACE = "callers[0].allow[1]"
AUDITED = replace(make_rule(ORG, actions=ALL_ACTIONS, scopes="openid AdobeID"), place=PLACE)
SAME_ID = ("X-Request-Id", "same-id")


def journey(*audit_rules: Rule) -> Caller:
    """A caller that may vend with one scope only."""
    return replace(
        make_caller("journey", make_rule(ORG, actions=[Action.VEND], scopes="openid")), audit_rules=audit_rules
    )


def lines(api: ApiInMemory) -> list[dict[str, object]]:
    """The audit lines of the requests so far."""
    found = [json.loads(AuditLines().line(event)) for event in api.sink.of(RequestDecided)]
    assert misfits(found) == []
    return found


def counted(api: ApiInMemory) -> float | None:
    """The metric of the caller."""
    registry = CollectorRegistry()
    sink = PrometheusSink(registry, api.clock, "1")
    for event in api.sink.all:
        sink.emit(event)
    sink.render()
    return registry.get_sample_value("ims_token_broker_audit_rule_matches_total", {"caller": "journey"})


FORM = {
    "grant_type": "client_credentials", "client_id": "journey", "client_secret": make_api_key("journey"), "org": ORG,
    "scope": "AdobeID",
}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", f"/token?org={ORG}&scope=AdobeID"),
        ("GET", f"/headers?org={ORG}&scope=AdobeID"),
        ("POST", f"/token/report?org={ORG}"),
        ("DELETE", f"/token?org={ORG}"),
        ("GET", "/orgs"),
    ],
)
async def test_a_refused_request_names_the_audit_rule_and_the_answer_does_not(method: str, target: str) -> None:
    """Each endpoint answers as to a caller without the rule; the audit line and the metric have the rule."""
    body = b'{"token_sha256": "%s"}' % (b"0" * 64)
    with_rule, without = ApiInMemory(journey(AUDITED)), ApiInMemory(journey())
    answers = [await api.ask(method, target, SAME_ID, body=body) for api in (with_rule, without)]
    assert answers[0].code == "forbidden"
    assert (answers[0].body, answers[0].headers) == (answers[1].body, answers[1].headers)
    assert [line.get("audit_rule") for line in lines(with_rule) + lines(without)] == [PLACE, None]
    assert (counted(with_rule), counted(without)) == (1.0, None)


async def test_an_oauth_client_is_refused_a_scope_in_the_same_way() -> None:
    """/oauth2/token answers `invalid_scope` for a scope that only an audit rule has; the audit line names it."""
    api = ApiInMemory(journey(AUDITED))
    answer = await api.form(FORM)
    assert answer.json["error"] == "invalid_scope"
    assert [line.get("audit_rule") for line in lines(api)] == [PLACE]


async def test_an_allowed_request_is_not_marked() -> None:
    """A request that the rules in force allow has no `audit_rule`, and its token has no scope of the audit rule."""
    api = ApiInMemory(journey(AUDITED))
    answer = await api.get(f"/token?org={ORG}")
    assert (answer.status, answer.json["scope"]) == (200, "openid")
    await api.get(f"/token?org={OTHER_ORG}")
    assert ["audit_rule" in line for line in lines(api)] == [False, False]
    assert counted(api) is None
