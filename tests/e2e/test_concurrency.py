"""Promise 3: however many ask first, on however many replicas, a token costs one exchange."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.crowd import at_once, spread
from tests.support.fleet import Fleet, outcomes


@pytest.mark.parametrize("kind", ["jwt", "oauth_server_to_server"])
@pytest.mark.parametrize("seconds", [0.0, 1.0], ids=["quick IMS", "slow IMS"])
async def test_a_thousand_first_requests_over_three_replicas_cost_one_exchange(
    fleet: Fleet, kind: str, seconds: float
) -> None:
    """1,000 concurrent first requests for one org get 1,000 times the same token out of exactly one exchange."""
    tenant = fleet.tenant(kind=kind)
    if seconds:
        # Slow enough that every one of them waits for the same exchange.
        fleet.sandbox.fault("latency", seconds=seconds, client_id=tenant.client_id)
    asked = [(replica, replica.token_request(tenant.org)) for replica in spread(fleet.replicas, 1000)]
    replies = await at_once(asked)
    assert Counter(reply.status for reply in replies) == {200: 1000}
    assert len({reply.json["access_token"] for reply in replies}) == 1
    assert outcomes(fleet.exchanges(tenant)) == ["issued"]
    assert max(reply.seconds for reply in replies) < 15


async def test_fifty_orgs_with_sixty_requests_each_cost_fifty_exchanges(fleet: Fleet) -> None:
    """3,000 concurrent requests for 50 orgs of two kinds cost one exchange per org, none with another org's token."""
    tenants = [fleet.tenant(kind=kind) for kind in ("jwt", "oauth_server_to_server") for _ in range(25)]
    asked = [
        (replica, tenant, replica.token_request(tenant.org))
        for turn in range(60)
        for number, tenant in enumerate(tenants)
        for replica in [fleet.replicas[(turn + number) % len(fleet.replicas)]]
    ]
    replies = await at_once((replica, data) for replica, _, data in asked)
    assert Counter(reply.status for reply in replies) == {200: 3000}
    for (_, tenant, _), reply in zip(asked, replies, strict=True):
        assert (reply.json["org_id"], reply.json["client_id"]) == (tenant.org, tenant.client_id)
    assert [outcomes(fleet.exchanges(tenant)) for tenant in tenants] == [["issued"]] * 50
