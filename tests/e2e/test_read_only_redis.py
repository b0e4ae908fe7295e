"""Brokers over a Redis that is a read-only replica, as in a second region or after a failover."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.fleet import Fleet
from tests.support.redis_server import RedisServer, running_redis
from tests.support.waiting import until


@pytest.fixture
def read_only(own_fleet: Fleet) -> Iterator[RedisServer]:
    """A real replica of the fleet's Redis, connected."""
    primary = own_fleet.redis.server
    with running_redis(options=["--replicaof", "127.0.0.1", str(primary.port)]) as server:
        yield server


async def test_tokens_are_vended_and_kept_in_memory(own_fleet: Fleet, read_only: RedisServer) -> None:
    """A broker that cannot write to Redis exchanges once, keeps the token in memory, and says why nothing is shared."""
    [replica] = own_fleet.start(1, REDIS_URL=read_only.url)
    tenant = own_fleet.tenant()

    replies = [await replica.token(tenant.org) for _ in range(5)]

    assert [reply.status for reply in replies] == [200] * 5
    assert len({reply.json["access_token"] for reply in replies}) == 1
    assert len(own_fleet.exchanges(tenant)) == 1
    replica.process.said("read-only replica")


async def test_what_the_primary_has_is_read(own_fleet: Fleet, read_only: RedisServer) -> None:
    """A token that a broker at the primary minted is served from the replica without an exchange."""
    [writer] = own_fleet.start(1)
    tenant = own_fleet.tenant()
    first = (await writer.token(tenant.org)).json["access_token"]
    await until(lambda: set(own_fleet.redis.server.key_names()) <= set(read_only.key_names()), 10)

    [reader] = own_fleet.start(1, REDIS_URL=read_only.url)
    second = await reader.token(tenant.org)

    assert (second.status, second.json["access_token"]) == (200, first)
    assert len(own_fleet.exchanges(tenant)) == 1
