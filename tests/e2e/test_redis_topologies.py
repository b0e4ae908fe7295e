"""Brokers over Redis with Sentinels or in a cluster, under load: no caller notices the loss of a server."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable

import pytest

from tests.support.cluster_redis import RedisCluster, own_cluster
from tests.support.fleet import Fleet
from tests.support.replica import BrokerProcess
from tests.support.sentinel_redis import SentinelGroup, own_sentinels
from tests.support.tenants import Tenant

__all__ = ["own_cluster", "own_sentinels"]

WARM, COLD = 8, 6
NEW_PRIMARY_SECONDS = 5.0


async def _asks_for(replica: BrokerProcess, tenants: list[Tenant], end: asyncio.Event) -> Counter[int]:
    """The statuses of requests that follow each other until `end`."""
    statuses = Counter[int]()
    while not end.is_set():
        for tenant in tenants:
            statuses[(await replica.token(tenant.org)).status] += 1
            await asyncio.sleep(0.005)
    return statuses


def _kill(group: SentinelGroup) -> None:
    group.primary.kill()


@pytest.mark.parametrize("lose", [_kill, SentinelGroup.fail_over])
async def test_no_caller_notices_a_failover(
    own_fleet: Fleet, own_sentinels: SentinelGroup, lose: Callable[[SentinelGroup], None]
) -> None:
    """While the primary dies or is replaced every answer is 200, and what is new then is in the new primary in 5 s."""
    replicas = own_fleet.start(3, REDIS_URL=own_sentinels.url)
    warm = [own_fleet.tenant() for _ in range(WARM)]
    new = own_sentinels.replica
    end = asyncio.Event()
    loads = [asyncio.create_task(_asks_for(replica, warm, end)) for replica in replicas]
    await asyncio.sleep(0.5)

    await asyncio.to_thread(lose, own_sentinels)
    cold = [own_fleet.tenant() for _ in range(COLD)]
    during = [(await replicas[number % 3].token(tenant.org)).status for number, tenant in enumerate(cold)]
    await asyncio.to_thread(own_sentinels.wait_for_primary, new)
    began = time.monotonic()
    late: list[Tenant] = []

    def is_written() -> bool:
        names = b"".join(new.key_names())
        return any(tenant.org.encode() in names for tenant in late)

    while not is_written():
        assert time.monotonic() - began < NEW_PRIMARY_SECONDS
        late.append(own_fleet.tenant())
        during += [(await replica.token(late[-1].org)).status for replica in replicas]
    end.set()
    statuses = sum(await asyncio.gather(*loads), Counter(during))

    assert set(statuses) == {200}, statuses
    assert statuses[200] > 100
    print(f"{statuses[200]} answers; written to the new primary after {time.monotonic() - began:.2f} s")


async def test_no_caller_notices_the_loss_of_a_node(own_fleet: Fleet, own_cluster: RedisCluster) -> None:
    """While a primary of a cluster dies every answer is 200, and its replica has what is new after it took over."""
    replicas = own_fleet.start(3, REDIS_URL=own_cluster.url)
    warm = [own_fleet.tenant() for _ in range(WARM)]
    end = asyncio.Event()
    loads = [asyncio.create_task(_asks_for(replica, warm, end)) for replica in replicas]
    await asyncio.sleep(0.5)

    own_cluster.nodes[0].kill()
    survivors = RedisCluster(own_cluster.nodes[1:])
    during: list[int] = []
    late: list[Tenant] = []

    def is_written_by_the_replica() -> bool:
        names = b"".join(own_cluster.nodes[3].key_names())
        return own_cluster.nodes[3].run("ROLE")[0] == b"master" and any(t.org.encode() in names for t in late)

    began = time.monotonic()
    while not is_written_by_the_replica():
        assert time.monotonic() - began < 20
        if own_cluster.nodes[3].run("ROLE")[0] == b"master":
            late.append(own_fleet.tenant())
        during += [(await replica.token((late or warm)[-1].org)).status for replica in replicas]
    await asyncio.to_thread(survivors.wait_until_whole)
    end.set()
    statuses = sum(await asyncio.gather(*loads), Counter(during))

    assert set(statuses) == {200}, statuses
