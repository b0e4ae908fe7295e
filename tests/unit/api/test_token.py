"""`/token`: vend, report and purge over HTTP."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from urllib.parse import quote

import pytest

from app.domain.events import RequestDecided
from tests.factories import KEY, ORG, OTHER_ORG, SCOPES, UNKNOWN_ORG, make_caller, make_rule
from tests.fakes import NOW
from tests.support.api_in_memory import TOKEN, ApiInMemory
from tests.support.malformed_orgs import malformed_orgs

SCOPED = make_caller("scoped", make_rule(ORG, scopes="openid AdobeID"))
EVERYWHERE = make_caller("everywhere", make_rule())


def report(sha256: object) -> bytes:
    """The body of a report."""
    return json.dumps({"token_sha256": sha256}).encode()


async def test_a_token_is_answered_with_all_its_fields(api: ApiInMemory) -> None:
    """The answer has exactly the documented fields, and caches may not store it."""
    answer = await api.get()
    token = api.replica.memory.get(KEY)
    assert token is not None
    assert answer.status == 200
    assert answer.json == {
        "access_token": token.value,
        "token_type": "Bearer",
        "expires_in": 86_400,
        "expires_at": datetime.fromtimestamp(NOW + 86_400, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "org_id": ORG,
        "client_id": "client-of-the-tenant",
        "credential": "default",
        "scope": "AdobeID openid session",
        "generation": "1",
    }
    assert answer.header("content-type") == "application/json"
    assert (answer.header("cache-control"), answer.header("pragma")) == ("no-store", "no-cache")


async def test_the_seconds_left_are_rounded_down(api: ApiInMemory) -> None:
    """A token with 86399.001 s left is answered with 86399, on the warm and the long path."""
    await api.get()
    api.clock.advance(0.999)
    warm = await api.get()
    assert warm.json["expires_in"] == 86_399
    long = await api.get(TOKEN + "&min_ttl=1")
    assert long.json["expires_in"] == 86_399


async def test_a_token_has_the_requested_scopes(api: ApiInMemory) -> None:
    """A subset of the credential's scopes has its own token; commas and spaces are equivalent."""
    answers = [await api.get(f"{TOKEN}&scope={scope}") for scope in ("openid,AdobeID", "AdobeID+openid", "openid")]
    assert [answer.json["scope"] for answer in answers] == ["AdobeID openid", "AdobeID openid", "openid"]
    assert answers[0].json["access_token"] == answers[1].json["access_token"] != answers[2].json["access_token"]
    assert api.world.exchanges == 2


async def test_a_scope_the_credential_lacks_is_400_and_one_the_caller_may_not_have_403() -> None:
    """A scope that the credential lacks is a bad request; one that the rule lacks is forbidden."""
    api = ApiInMemory(SCOPED)
    assert (await api.get(f"{TOKEN}&scope=session", caller="scoped")).code == "forbidden"
    api = ApiInMemory(make_caller("journey"))
    assert (await api.get(f"{TOKEN}&scope=admin")).code == "invalid_request"
    assert api.world.exchanges == 0


async def test_a_caller_knows_whether_its_request_or_its_rule_asks_for_too_much() -> None:
    """Both are 400; the details differ, and name no scope that the credential has."""
    api = ApiInMemory(
        make_caller("journey", make_rule(ORG, scopes="openid admin")), make_caller("b", make_rule(ORG, scopes="admin"))
    )
    details = list[str]()
    for answer in (await api.get(f"{TOKEN}&scope=openid+admin"), await api.get(caller="b")):
        assert (answer.status, answer.code) == (400, "invalid_request")
        details.append(answer.json["detail"])
    assert ["requested scopes" in detail for detail in details] == [True, False]
    assert ["none of the scopes that the policy allows" in detail for detail in details] == [False, True]
    assert not any(scope in detail for scope in SCOPES for detail in details)


async def test_without_a_requested_scope_the_caller_gets_all_it_may_have() -> None:
    """A rule with two of the credential's three scopes gives these two."""
    api = ApiInMemory(SCOPED)
    assert (await api.get(caller="scoped")).json["scope"] == "AdobeID openid"


async def test_min_ttl_beyond_any_lifetime_is_400(api: ApiInMemory) -> None:
    """If IMS issues shorter tokens than requested, the answer says so, and at most one token is minted."""
    api.world.exchanger.lifetime = 600.0
    for _ in range(5):
        assert (await api.get(TOKEN + "&min_ttl=601")).code == "invalid_request"
    assert api.world.exchanges == 1


@pytest.mark.parametrize(("name", "org"), malformed_orgs(), ids=[name for name, _ in malformed_orgs()])
async def test_a_malformed_org_is_400_and_not_reflected(api: ApiInMemory, name: str, org: str) -> None:
    """Neither the answer nor the event contains it, and the store is not asked for it."""
    sent = quote(org, errors="surrogatepass")
    answer = await api.get(f"/token?org={sent}")
    assert answer.code == "invalid_request"
    for part in (org, sent):
        assert not part or len(part) < 10 or part not in answer.body.decode()
    [event] = api.sink.of(RequestDecided)
    assert event.decision.org is None
    assert api.world.store.fetches == []


async def test_unknown_and_forbidden_orgs_get_identical_answers(api: ApiInMemory) -> None:
    """Except for the request id nothing reveals whether the org exists, and nothing is looked up."""
    same_id = ("X-Request-Id", "same")
    known = await api.get(f"/token?org={OTHER_ORG}", same_id)
    unknown = await api.get(f"/token?org={UNKNOWN_ORG}", same_id)
    assert known.code == "forbidden"
    assert known == unknown
    assert api.world.store.fetches == []
    assert api.world.cache.calls == []


async def test_an_allowed_org_without_a_credential_is_404() -> None:
    """Only a caller that is allowed the org learns that its credential is missing."""
    api = ApiInMemory(EVERYWHERE)
    assert (await api.get(f"/token?org={UNKNOWN_ORG}", caller="everywhere")).code == "credential_not_found"


async def test_a_report_replaces_the_token_and_a_stale_one_does_not(api: ApiInMemory) -> None:
    """The answer has the form of GET /token: the new token, then the same one again."""
    await api.get()
    token = api.replica.memory.get(KEY)
    assert token is not None
    first = await api.ask("POST", f"/token/report?org={ORG}", body=report(token.sha256))
    again = await api.ask("POST", f"/token/report?org={ORG}", body=report(token.sha256))
    assert first.status == again.status == 200
    assert first.json["access_token"] == again.json["access_token"] != token.value
    assert first.header("cache-control") == "no-store"
    assert (await api.get()).json["access_token"] == first.json["access_token"]
    assert api.world.exchanges == 2


async def test_three_hundred_reports_over_http_cost_one_exchange(api: ApiInMemory) -> None:
    """A storm of 401s costs one minting."""
    await api.get()
    token = api.replica.memory.get(KEY)
    assert token is not None
    body = report(token.sha256)
    answers = await asyncio.gather(*(api.ask("POST", f"/token/report?org={ORG}", body=body) for _ in range(300)))
    assert {answer.status for answer in answers} == {200}
    assert api.world.exchanges == 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 1000,
        b'"' + b"a" * 64 + b'"',
        report("a" * 63),
        report("G" * 64),
        report(1),
        report(None),
        report(["a" * 64]),
        b'{"token_sha256": "' + b"a" * 64 + b'", "x": "' + b"x" * 1024 + b'"}',
    ],
)
async def test_a_bad_body_of_a_report_is_400(api: ApiInMemory, body: bytes) -> None:
    """Any other body is refused, and nothing is minted."""
    assert (await api.ask("POST", f"/token/report?org={ORG}", body=body)).code == "invalid_request"
    assert api.world.exchanges == 0


async def test_a_report_needs_the_action_and_has_no_min_ttl() -> None:
    """A caller that may only vend may not report."""
    api = ApiInMemory(make_caller("vendor", make_rule(ORG, actions=["vend"])), make_caller("journey"))  # type: ignore[list-item]  # StrEnum
    forbidden = await api.ask("POST", f"/token/report?org={ORG}", caller="vendor", body=report("a" * 64))
    assert forbidden.code == "forbidden"
    unknown = await api.ask("POST", f"/token/report?org={ORG}&min_ttl=1", body=report("a" * 64))
    assert unknown.code == "invalid_request"


async def test_a_purge_forgets_the_token_and_needs_the_action(api: ApiInMemory) -> None:
    """It is 204 without a body for an allowed caller; otherwise it is 403, and nothing is dropped."""
    first = await api.get()
    assert (await api.ask("DELETE", TOKEN)).code == "forbidden"
    assert (await api.get()).json == first.json
    purged = await api.ask("DELETE", TOKEN, caller="operator")
    assert (purged.status, purged.body, purged.header("cache-control")) == (204, b"", "no-store")
    assert purged.header("x-request-id") is not None
    assert (await api.get()).json["access_token"] != first.json["access_token"]


@pytest.mark.parametrize("query", ["", "&scope=openid", "&min_ttl=0"])
async def test_a_purge_affects_a_whole_credential(api: ApiInMemory, query: str) -> None:
    """A scope or min_ttl is refused, because it would suggest otherwise."""
    answer = await api.ask("DELETE", f"{TOKEN}{query}", caller="operator")
    assert answer.status == (400 if query else 204)


async def test_every_exit_is_one_event(api: ApiInMemory) -> None:
    """A cold and a warm vend, a report, a purge and every refusal are one event each, with the answer's request id."""
    answers = [
        await api.get(),
        await api.get(),
        await api.ask("POST", f"/token/report?org={ORG}", body=report("a" * 64)),
        await api.ask("DELETE", TOKEN, caller="operator"),
        await api.get(caller=None),
        await api.get("/token"),
        await api.get(f"/token?org={OTHER_ORG}"),
    ]
    events = api.sink.of(RequestDecided)
    assert [event.decision.outcome for event in events] == [
        *("vended", "vended", "vended", "done"),
        *("unauthenticated", "invalid_request", "forbidden"),
    ]
    assert [event.request_id for event in events] == [answer.header("x-request-id") for answer in answers]
    assert [event.decision.tier for event in events[:4]] == ["exchange", "memory", "memory", None]
    assert [event.decision.caller for event in events] == ["journey"] * 3 + ["operator", None] + ["journey"] * 2


async def test_no_event_contains_a_token_or_a_key(api: ApiInMemory) -> None:
    """A token is named by its hash, a caller by its name."""
    answer = await api.get()
    await api.get()
    assert answer.json["access_token"] not in repr(api.sink.all)
    assert "itb_" not in repr(api.sink.all)
    decision = api.sink.of(RequestDecided)[0].decision
    token = api.replica.memory.get(KEY)
    assert token is not None
    assert (decision.token_sha256, decision.org, decision.scope) == (token.sha256, ORG, "AdobeID openid session")
