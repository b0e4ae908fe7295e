"""The shared cache in memory, in Redis and in the simulation, as two replicas see it; listening to its purges."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

import pytest

from app.adapters.memory_cache import MemoryPurgeLog, MemoryTokenCache
from app.adapters.redis import RedisClient, RedisPurgeLog, RedisTokenCache
from app.domain.cache_entry import Purge
from app.ports import PurgeLog, TokenCache
from tests.simulation.simulated_network import Process
from tests.simulation.simulated_redis import RedisConnection, SimulatedRedis, link_to_redis
from tests.support.cached_tokens import OTHER_KEY, key_ring
from tests.support.recorded_events import RecordedEvents
from tests.support.waiting import until

DEADLINE = 5.0


@dataclass
class CacheView:
    """One replica's view of the shared cache."""

    tokens: TokenCache
    purge_log: PurgeLog


@dataclass
class Shared:
    """One shared cache as two replicas see it; in memory they are one."""

    first: CacheView
    second: CacheView


def shared_memory() -> Shared:
    """An empty cache in memory."""
    purge_log = MemoryPurgeLog()
    replica = CacheView(MemoryTokenCache(time.time, purge_log, time.monotonic), purge_log)
    return Shared(replica, replica)


@asynccontextmanager
async def shared_redis(url: str) -> AsyncIterator[Shared]:
    """A cache in Redis, with a connection per replica."""
    sink = RecordedEvents()
    clients = [RedisClient(url, sink) for _ in range(2)]
    first, second = (
        CacheView(RedisTokenCache(client, lambda: key_ring("k1"), sink), RedisPurgeLog(client)) for client in clients
    )
    yield Shared(first, second)
    for client in clients:
        await client.aclose()


def shared_simulation() -> Shared:
    """An empty simulated Redis, with a connection per replica."""
    server = SimulatedRedis(time.time)
    link = link_to_redis(random.Random(1), delay=(0.0, 0.0))
    first, second = (RedisConnection(server, link, Process(name)) for name in ("first", "second"))
    return Shared(CacheView(first, first), CacheView(second, second))


@pytest.fixture
def redis_url(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """The URL of an empty Redis of a topology."""
    servers = {"redis": "redis_server", "sentinel": "sentinel_group", "cluster": "redis_cluster"}
    return lambda topology: str(request.getfixturevalue(servers[topology]).url)


@pytest.fixture(params=["memory", "redis", "sentinel", "cluster", "simulation"])
async def shared(request: pytest.FixtureRequest, redis_url: Callable[[str], str]) -> AsyncIterator[Shared]:
    """Each kind of shared cache in turn, empty."""
    if request.param == "memory":
        yield shared_memory()
        return
    if request.param == "simulation":
        yield shared_simulation()
        return
    async with shared_redis(redis_url(request.param)) as redis:
        yield redis


async def listen(log: PurgeLog, heard: Callable[[Purge], None]) -> None:
    """Pass on the purges of a log."""
    purges = log.purges()
    assert isinstance(purges, AsyncGenerator)
    async with aclosing(purges):
        async for purge in purges:
            heard(purge)


async def until_listening(log: PurgeLog, heard: list[list[Purge]]) -> None:
    """Purge another tenant until all listeners hear it, and then until nothing is on its way."""
    end = time.monotonic() + DEADLINE
    while not all(heard):
        assert time.monotonic() < end
        await log.raise_epoch(OTHER_KEY.ref, 0)
        await asyncio.sleep(0.02)
    last = Purge(OTHER_KEY.ref, await log.raise_epoch(OTHER_KEY.ref, 0))
    await until(lambda: all(into[-1] == last for into in heard))
