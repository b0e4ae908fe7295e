"""A limit of the fleet at the API: every endpoint and spelling counts, warm or not, and a reload counts at once."""

from __future__ import annotations

import json

import pytest

from app.domain.rate_limit import LimitScope, RateLimit
from tests.factories import ORG, make_api_key, make_caller
from tests.support.api_in_memory import ApiInMemory

LIMIT = RateLimit(9, 3600.0, LimitScope.FLEET)


@pytest.fixture
def api() -> ApiInMemory:
    """The API with a caller that has used nothing of its limit."""
    api = ApiInMemory(make_caller("journey", rate_limit=LIMIT))
    share = api.fleet_limits.share(api.policy.current.callers[0], LIMIT)
    share.alone(1, api.clock())
    api.clock.advance(3600.0)
    return api


async def test_every_endpoint_and_every_spelling_counts(api: ApiInMemory) -> None:
    """Nine requests pass in whatever way they are asked; then all are refused, until the bucket has one again."""
    batch = json.dumps({"items": [{"org": ORG}, {"org": ORG}]}).encode()
    form = {
        "grant_type": "client_credentials",
        "org": ORG,
        "client_id": "journey",
        "client_secret": make_api_key("journey"),
    }
    statuses = [
        (await api.get(f"/token?org={ORG}")).status,
        (await api.get(f"/token?org={ORG}")).status,
        (await api.get(f"/token?org={ORG}&min_ttl=0")).status,
        (await api.get(f"/token?min_ttl=00&org={ORG.replace('@', '%40')}")).status,
        (await api.get(f"/headers?org={ORG}")).status,
        (await api.ask("HEAD", f"/token?org={ORG}")).status,
        (await api.form(form)).status,
    ]
    assert statuses == [200] * 7
    items = (await api.ask("POST", "/tokens", body=batch)).json["items"]
    assert [item.get("status") for item in items] == [None, None]
    refused = [
        await api.get(f"/token?org={ORG}"),
        await api.get(f"/headers?org={ORG}&min_ttl=1"),
        await api.form(form),
        await api.get("/orgs"),
    ]
    assert [answer.status for answer in refused] == [429] * 4
    assert {dict(answer.headers)["retry-after"] for answer in refused} == {"400"}
    items = (await api.ask("POST", "/tokens", body=batch)).json
    assert items["status"] == 429 if "status" in items else [item["status"] for item in items["items"]] == [429, 429]
    api.clock.advance(400.0)
    assert [(await api.get(f"/token?org={ORG}")).status for _ in range(2)] == [200, 429]


async def test_a_lower_limit_holds_for_the_next_request() -> None:
    """A reload of the policy changes the limit of a warm request at once, and a part of it is not refilled."""
    api = ApiInMemory(make_caller("journey", rate_limit=RateLimit(3600, 3600.0, LimitScope.FLEET)))
    share = api.fleet_limits.share(api.policy.current.callers[0], RateLimit(3600, 3600.0, LimitScope.FLEET))
    share.alone(1, api.clock())
    api.clock.advance(3600.0)
    assert [(await api.get()).status for _ in range(50)] == [200] * 50
    api.change_policy(make_caller("journey", rate_limit=LIMIT))
    assert [(await api.get()).status for _ in range(10)].count(200) <= 9
    assert (await api.get()).status == 429
