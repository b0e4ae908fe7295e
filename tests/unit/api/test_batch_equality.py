"""`POST /tokens` answers each item, byte for byte, as a single `GET /token` would, and reports the same decision."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

import pytest

from app.domain.events import RequestDecided
from app.domain.rate_limit import RateLimit
from tests.factories import ORG, OTHER_ORG, REF, UNKNOWN_ORG, make_caller, make_rule
from tests.support.api_in_memory import ApiInMemory
from tests.support.asgi_client import AsgiResponse

Item = Mapping[str, object]

SAME_ID = ("X-Request-Id", "same-id")
BATCH = make_caller("batch", make_rule(ORG, OTHER_ORG, UNKNOWN_ORG))
LIMITED = make_caller("limited", make_rule(ORG, UNKNOWN_ORG), rate_limit=RateLimit(75, 3600.0))
KINDS: tuple[Item, ...] = (
    {"org": ORG},
    {"org": ORG, "credential": "default", "min_ttl": 60},
    {"org": ORG, "scope": "openid"},
    {"org": ORG, "scope": "AdobeID,openid"},
    {"org": ORG, "min_ttl": 43_200},
    {"org": OTHER_ORG},
    {"org": UNKNOWN_ORG},
    {"org": "1" * 24 + "@AdobeOrg"},
    {"org": "nonsense"},
    {"org": f"{ORG}\0", "credential": ""},
    {"org": ORG, "credential": ""},
    {"org": ORG, "credential": "no/name"},
    {"org": ORG, "credential": "absent"},
    {"org": ORG, "scope": ""},
    {"org": ORG, "scope": "nosuch"},
)
"""Warm and cold, denied, unknown and malformed."""

ITEMS = (KINDS * 7)[:100]


@pytest.fixture
def api() -> ApiInMemory:
    """The API with a caller for three orgs and a caller with a limit. One of the orgs has no credential."""
    return ApiInMemory(BATCH, LIMITED)


async def batch_of(api: ApiInMemory, items: Sequence[Item], caller: str = "batch") -> AsgiResponse:
    """The answer to one request for all items."""
    body = json.dumps({"items": items}).encode()
    return await api.ask("POST", "/tokens", SAME_ID, caller=caller, body=body)


async def singles_of(api: ApiInMemory, items: Sequence[Item], caller: str = "batch") -> bytes:
    """What a batch must answer, made from the answers to one `GET /token` for each item."""
    answers = [await api.get(f"/token?{_query(item)}", SAME_ID, caller=caller) for item in items]
    return b'{"items":[' + b",".join(map(_as_item, answers)) + b"]}"


def _query(item: Item) -> str:
    return urlencode({name: str(value) for name, value in item.items()})


def _as_item(answer: AsgiResponse) -> bytes:
    wait = answer.header("retry-after")
    return answer.body if wait is None else b'%b,"retry_after":%b}' % (answer.body[:-1], wait.encode())


def reported(api: ApiInMemory, number: int) -> list[tuple[object, ...]]:
    """The last decisions but that on the batch itself, without endpoint and tier."""
    decisions = [event.decision for event in api.sink.of(RequestDecided) if event.decision.outcome != "done"]
    return [
        (one.outcome, one.caller, one.org, one.credential, one.scope, one.generation, one.token_sha256, one.reason)
        for one in decisions[-number:]
    ]


@pytest.mark.parametrize("times_before", [0, 1, 2])
async def test_a_batch_is_its_single_requests(api: ApiInMemory, times_before: int) -> None:
    """Cold, warm, denied, unknown, malformed and repeated items get the bytes of their single requests, in order."""
    for _ in range(times_before):
        await batch_of(api, ITEMS)
    together = await batch_of(api, ITEMS)
    of_batch = reported(api, len(ITEMS))
    assert together.status == 200
    assert together.body == await singles_of(api, ITEMS)
    assert of_batch == reported(api, len(ITEMS))


async def test_a_warm_batch_is_its_single_requests_as_time_goes_on(api: ApiInMemory) -> None:
    """The seconds left are those of the moment, and a refreshed token is in the next batch."""
    items: list[Item] = [{"org": ORG}, {"org": ORG, "scope": "openid"}, {"org": OTHER_ORG}, {"org": OTHER_ORG}]
    seen = set()
    for _ in range(40):
        await batch_of(api, items)
        await api.replica.until_idle()
        together = await batch_of(api, items)
        seen |= {item["access_token"] for item in together.json["items"]}
        assert together.body == await singles_of(api, items)
        api.clock.advance(3600.5)
    assert len(seen) > 6


@pytest.mark.parametrize(("warm", "items"), [([], ITEMS), (KINDS[:4], ITEMS), (KINDS[:4], KINDS[:4] * 25)])
async def test_a_limited_batch_is_its_single_requests(warm: Sequence[Item], items: Sequence[Item]) -> None:
    """The limit admits the same items, whatever becomes of them, and names the same time for the others."""
    one, other = ApiInMemory(BATCH, LIMITED), ApiInMemory(BATCH, LIMITED)
    if warm:
        for api in (one, other):
            await batch_of(api, warm, "limited")
    together = await batch_of(one, items, "limited")
    assert together.body == await singles_of(other, items, "limited")
    assert [item.get("status") for item in together.json["items"]].count(429) == 25 + len(warm)
    assert reported(one, len(items)) == reported(other, len(items))


@pytest.mark.parametrize("change", ["purged", "denied", "allowed"])
async def test_a_batch_after_a_change_is_its_single_requests(api: ApiInMemory, change: str) -> None:
    """A purge or another policy is obeyed by the next batch, although all its items were warm."""
    items: list[Item] = [{"org": ORG}, {"org": ORG, "scope": "openid"}, {"org": OTHER_ORG}] * 33
    before = await batch_of(api, items)
    await _change(api, change)
    together = await batch_of(api, items)
    assert together.body == await singles_of(api, items)
    assert (together.body == before.body) is (change == "allowed")


async def test_a_warm_item_whose_token_ends_too_soon_is_not_answered_with_it(api: ApiInMemory) -> None:
    """`min_ttl` holds for a warm item, too: when its token has less life left, a new one is minted."""
    items: list[Item] = [{"org": ORG, "min_ttl": 40_000}, {"org": ORG}]
    [old, _] = (await batch_of(api, items)).json["items"]
    assert [item["access_token"] for item in (await batch_of(api, items)).json["items"]] == [old["access_token"]] * 2
    api.clock.advance(50_000.0)
    [new, _] = (await batch_of(api, items)).json["items"]
    assert new["access_token"] != old["access_token"]
    assert new["expires_in"] >= 40_000


@pytest.mark.parametrize("change", ["purged", "denied", "allowed", "nothing"])
async def test_a_batch_that_waits_during_a_change_is_its_single_requests(api: ApiInMemory, change: str) -> None:
    """Warm items that wait for a cold one obey a purge and another policy, and have the seconds left at the end."""
    warm: list[Item] = [{"org": ORG}, {"org": ORG, "scope": "openid"}] * 49
    before = [await batch_of(api, warm) for _ in range(2)][-1]
    calls = api.world.exchanger.calls(OTHER_ORG)
    calls.pause()
    items = [*warm, {"org": OTHER_ORG}, {"org": "nonsense"}]
    asking = asyncio.create_task(batch_of(api, items))
    await calls.one_waits()
    await _change(api, change)
    api.clock.advance(2.0)
    calls.resume()
    together = await asyncio.wait_for(asking, 5.0)
    of_batch = reported(api, len(items))
    assert together.body == await singles_of(api, items)
    assert of_batch == reported(api, len(items))
    kept = [item.get("access_token") for item in together.json["items"][:98]]
    assert (kept == [item["access_token"] for item in before.json["items"]]) is (change in {"allowed", "nothing"})


async def _change(api: ApiInMemory, change: str) -> None:
    if change == "purged":
        await api.replica.purges.purge(REF)
    elif change == "denied":
        api.change_policy(LIMITED, make_caller("batch", make_rule(OTHER_ORG)))
    elif change == "allowed":
        api.change_policy(BATCH, LIMITED)
