"""Tenants that hang, and dependencies that are down, cost the other tenants nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.broker_without_vault import BrokerWithoutVault, broker_without_vault
from tests.support.children import wait_until
from tests.support.crowd import at_once

HANGING = 1_000
SERVED = 6


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerWithoutVault]:
    """A broker with a sandbox of its own, which may be frozen."""
    with broker_without_vault(tmp_path, count=0) as broker:
        yield broker


async def test_a_thousand_tenants_that_hang_leave_the_others_served(broker: BrokerWithoutVault) -> None:
    """While exchanges of 1,000 tenants hang, each other tenant of the same IMS is served, warm or cold."""
    hanging = [broker.tenant() for _ in range(HANGING)]
    for tenant in hanging:
        broker.sandbox.fault("hang", client_id=tenant.client_id)
    warm, *cold = [broker.tenant() for _ in range(SERVED + 1)]
    replica = broker.replica
    assert (await replica.token(warm.org)).status == 200
    crowd = asyncio.create_task(at_once((replica, replica.token_request(tenant.org)) for tenant in hanging))
    await asyncio.to_thread(_until_struck, broker)
    for tenant in cold:
        reply = await replica.token(tenant.org)
        print(f"served after {reply.seconds:.2f} s while {HANGING} tenants hang")
        assert reply.status == 200
        warm_reply = await replica.token(warm.org)
        assert warm_reply.status == 200
    replies = await crowd
    assert Counter(reply.status for reply in replies) == {503: HANGING}
    assert all(int(reply.header("retry-after") or 0) >= 1 for reply in replies)


async def test_no_more_exchanges_run_at_once_than_allowed(broker: BrokerWithoutVault) -> None:
    """100 cold tenants at an IMS that needs half a second are all served, 20 at a time."""
    tenants = [broker.tenant() for _ in range(100)]
    broker.sandbox.fault("latency", seconds=0.5)
    replica = broker.replica
    replies = await at_once((replica, replica.token_request(tenant.org)) for tenant in tenants)
    assert Counter(reply.status for reply in replies) == {200: 100}
    times = sorted(float(entry["time"]) for entry in broker.sandbox.journal())
    # More than 20 decisions within half a second would have been under way at once.
    assert all(later - earlier > 0.49 for earlier, later in zip(times, times[20:], strict=False))


def _until_struck(broker: BrokerWithoutVault) -> None:
    wait_until(lambda: broker.sandbox.all_hits() >= 20, "no exchange hangs")
