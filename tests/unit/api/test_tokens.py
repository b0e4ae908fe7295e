"""`POST /tokens`: many tokens in one request, each decided on its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import pytest

from app.domain.events import CacheLookedUp, RequestDecided
from app.domain.rate_limit import RateLimit
from app.domain.tenant_errors import CredentialRejectedError
from tests.factories import ORG, OTHER_ORG, REF, UNKNOWN_ORG, make_caller, make_rule
from tests.support.api_in_memory import ApiInMemory
from tests.support.asgi_client import AsgiResponse, Body

BATCH = make_caller("batch", make_rule(ORG, UNKNOWN_ORG))
LIMITED = make_caller("limited", make_rule(ORG), rate_limit=RateLimit(2, 3600.0))


@pytest.fixture
def api() -> ApiInMemory:
    """The API with a caller for two orgs, and a caller with a limit. One of the orgs has no credential."""
    return ApiInMemory(BATCH, LIMITED)


async def ask(api: ApiInMemory, *items: Mapping[str, object], caller: str = "batch") -> AsgiResponse:
    """Ask for several tokens."""
    return await api.ask("POST", "/tokens", caller=caller, body=json.dumps({"items": items}).encode())


async def test_each_item_has_its_own_answer_in_order(api: ApiInMemory) -> None:
    """A token, a denial, a missing credential and a malformed item do not affect each other."""
    asked = ({"org": ORG}, {"org": OTHER_ORG}, {"org": UNKNOWN_ORG}, {"org": "nonsense"}, {"org": ORG, "min_ttl": 60})
    answer = await ask(api, *asked)
    items = answer.json["items"]
    assert answer.status == 200
    assert [item.get("status") for item in items] == [None, 403, 404, 400, None]
    assert items[0] == (await api.get(f"/token?org={ORG}", caller="batch")).json
    assert items[4]["access_token"] == items[0]["access_token"]
    assert {("cache-control", "no-store"), ("pragma", "no-cache")} <= set(answer.headers)


async def test_a_denied_org_looks_like_an_unknown_one_that_is_denied(api: ApiInMemory) -> None:
    """The problem of an item tells nothing about orgs that the caller may not have."""
    items = (await ask(api, {"org": OTHER_ORG}, {"org": "1" * 24 + "@AdobeOrg"})).json["items"]
    assert items[0] == items[1]


async def test_each_item_counts_against_the_limit(api: ApiInMemory) -> None:
    """A limit of two admits two items, and says for each other one how long to wait."""
    items = (await ask(api, *({"org": ORG} for _ in range(4)), caller="limited")).json["items"]
    assert [item.get("status") for item in items] == [None, None, 429, 429]
    assert items[2]["retry_after"] > 0


@pytest.mark.parametrize("body", [b"", b'{"items": [1]}', b"[" * 70_000], ids=["empty", "shape", "too large"])
async def test_a_malformed_batch_counts_once_against_the_limit(api: ApiInMemory, body: bytes) -> None:
    """A caller over its limit gets 429 whatever it sends, and its malformed batches leave it no more items."""
    answers = [await api.ask("POST", "/tokens", caller="limited", body=body) for _ in range(3)]
    assert [answer.status for answer in answers] == [400, 400, 429]
    [item] = (await ask(api, {"org": ORG}, caller="limited")).json["items"]
    assert item["status"] == 429


async def test_a_batch_that_is_broken_off_counts_once_against_the_limit(api: ApiInMemory) -> None:
    """A client that disconnects within its body, again and again, is limited as if it had sent all of it."""
    for _ in range(2):
        await api.ask("POST", "/tokens", caller="limited", body=Body([b'{"items": ['], leaves=True))
    [item] = (await ask(api, {"org": ORG}, caller="limited")).json["items"]
    assert item["status"] == 429


async def test_each_item_is_one_event(api: ApiInMemory) -> None:
    """The audit log has a line per item, and one for the request itself."""
    await ask(api, {"org": ORG}, {"org": OTHER_ORG})
    decided = [(event.decision.org, event.decision.outcome) for event in api.sink.of(RequestDecided)]
    assert len(decided) == 3
    assert set(decided) == {(ORG, "vended"), (OTHER_ORG, "forbidden"), (None, "done")}


async def test_equal_items_cost_one_exchange(api: ApiInMemory) -> None:
    """A hundred times the same item is one call to IMS."""
    items = (await ask(api, *({"org": ORG} for _ in range(100)))).json["items"]
    assert len({item["access_token"] for item in items}) == 1
    assert api.world.exchanges == 1


async def test_warm_items_have_no_task_and_no_lookup(api: ApiInMemory) -> None:
    """Items that were answered before are decided on the warm path, and a cold one between them changes nothing."""
    warm: list[dict[str, object]] = [{"org": ORG}, {"org": ORG, "scope": "openid"}, {"org": ORG}]
    await ask(api, *warm)
    api.sink.all.clear()
    await ask(api, *warm)
    assert [type(event) for event in api.sink.all] == [RequestDecided] * 4
    await ask(api, *warm, {"org": UNKNOWN_ORG})
    assert [event.outcome for event in api.sink.of(CacheLookedUp) if event.tier == "memory"] == ["miss"]
    items = [event.decision for event in api.sink.of(RequestDecided) if event.decision.outcome == "vended"]
    assert {(item.endpoint, item.tier) for item in items} == {("/tokens", "memory")}


async def test_a_text_that_is_not_unicode_is_400(api: ApiInMemory) -> None:
    """A lone surrogate, which JSON allows, refuses its item only."""
    items = (await ask(api, {"org": "\ud800"}, {"org": ORG})).json["items"]
    assert [item.get("status") for item in items] == [400, None]


async def test_a_tenant_that_ims_refuses_costs_only_its_own_item(api: ApiInMemory) -> None:
    """Its item is 502, with the code of the error."""
    api.world.exchanger.failures[ORG] = CredentialRejectedError("invalid_client")
    items = (await ask(api, {"org": ORG}, {"org": OTHER_ORG})).json["items"]
    assert [(item["status"], item["code"]) for item in items] == [(502, "credential_rejected"), (403, "forbidden")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"items": []}',
        b'{"items": {}}',
        b'{"items": [{"org": "x"}], "more": 1}',
        json.dumps({"items": [{"org": ORG}] * 101}).encode(),
        b'{"items": [{"org": "x"}], "items": [{"org": "x"}]}',
    ],
)
async def test_a_malformed_batch_is_400(api: ApiInMemory, body: bytes) -> None:
    """A body that is not one object with 1 to 100 items is refused as a whole."""
    answer = await api.ask("POST", "/tokens", caller="batch", body=body)
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    "item",
    [1, {}, {"org": 1}, {"org": ORG, "scopes": "openid"}, {"org": ORG, "min_ttl": True}, {"org": ORG, "min_ttl": -1}],
)
async def test_an_item_of_another_shape_is_400(api: ApiInMemory, item: object) -> None:
    """An unknown member or a value of another type refuses the whole request, and nothing is minted."""
    answer = await api.ask("POST", "/tokens", caller="batch", body=json.dumps({"items": [{"org": ORG}, item]}).encode())
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")
    assert api.world.exchanges == 0


@pytest.mark.parametrize("change", ["denied", "purged", "elsewhere"])
async def test_what_changes_while_other_items_wait_is_obeyed(api: ApiInMemory, change: str) -> None:
    """A token that was obtained first is denied or replaced; a change that is not about it costs nothing."""
    old = (await api.get(f"/token?org={ORG}", caller="batch")).json["access_token"]
    calls = api.world.exchanger.calls(ORG)
    calls.pause()
    asking = asyncio.create_task(ask(api, {"org": ORG}, {"org": ORG, "scope": "openid"}))
    await calls.one_waits()
    if change == "denied":
        api.change_policy(LIMITED, make_caller("batch", make_rule(OTHER_ORG)))
    elif change == "purged":
        await api.replica.purges.purge(REF)
    else:
        api.change_policy(BATCH)
    calls.resume()
    answer = await asking
    assert answer.status == 200
    tokens = [item.get("access_token") for item in answer.json["items"]]
    assert (old in tokens) is (change == "elsewhere")
    assert (None in tokens) is (change == "denied")


async def test_an_item_is_reported_as_it_was_answered(api: ApiInMemory) -> None:
    """An item that is denied while others wait has one event, which says so, and counts once against the limit."""
    await api.get(f"/token?org={ORG}", caller="batch")
    api.sink.all.clear()
    calls = api.world.exchanger.calls(ORG)
    calls.pause()
    asking = asyncio.create_task(ask(api, {"org": ORG}, {"org": ORG, "scope": "openid"}))
    await calls.one_waits()
    api.change_policy(make_caller("batch", make_rule(OTHER_ORG)))
    calls.resume()
    await asking
    outcomes = [event.decision.outcome for event in api.sink.of(RequestDecided)]
    assert outcomes == ["forbidden", "forbidden", "done"]


async def test_an_unauthenticated_batch_is_401(api: ApiInMemory) -> None:
    """Without a valid key the whole request is refused, whatever its items."""
    answer = await api.ask("POST", "/tokens", caller=None, body=b'{"items": [{"org": "x"}]}')
    assert answer.status == 401
