"""What every lease does: in memory, and in Redis and the simulation as two replicas see it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from app.adapters.memory_cache import MemoryLease
from app.adapters.redis import RedisClient, RedisLease
from app.ports import Lease
from tests.simulation.simulated_network import Process
from tests.simulation.simulated_redis import RedisConnection, SimulatedRedis, link_to_redis
from tests.support.cached_tokens import ALL_KEYS, KEY
from tests.support.recorded_events import RecordedEvents

DEADLINE = 5.0
MILLISECONDS = 1000


@dataclass
class Leases:
    """The same leases as two replicas see them; in memory both are one object."""

    first: Lease
    second: Lease


@pytest.fixture(params=["memory", "redis", "sentinel", "cluster", "simulation"])
async def leases(request: pytest.FixtureRequest, redis_url: Callable[[str], str]) -> AsyncIterator[Leases]:
    """Each kind of lease in turn; nothing is held."""
    if request.param == "memory":
        memory = MemoryLease(time.monotonic, MILLISECONDS)
        yield Leases(memory, memory)
        return
    if request.param == "simulation":
        simulated = SimulatedRedis(time.monotonic, lease_seconds=MILLISECONDS / 1000)
        link = link_to_redis(random.Random(1), delay=(0.0, 0.0))
        yield Leases(*(RedisConnection(simulated, link, Process(name)) for name in ("first", "second")))
        return
    url = redis_url(request.param)
    clients = [RedisClient(url, RecordedEvents()) for _ in range(2)]
    first, second = (RedisLease(client, milliseconds=MILLISECONDS) for client in clients)
    yield Leases(first, second)
    for client in clients:
        await client.aclose()


class TestLease:
    """The contract."""

    async def test_a_key_has_one_holder(self, leases: Leases) -> None:
        """Of many concurrent attempts to acquire a key, on two replicas, one succeeds."""
        holders = await asyncio.gather(*(lease.acquire(KEY) for lease in [leases.first, leases.second] * 20))
        assert len([holder for holder in holders if holder is not None]) == 1

    async def test_keys_are_independent(self, leases: Leases) -> None:
        """A holder of one key does not block other keys; no two holders have the same value."""
        holders = [await leases.first.acquire(key) for key in ALL_KEYS]
        assert None not in holders
        assert len(set(holders)) == len(ALL_KEYS)

    async def test_a_released_key_can_be_acquired_at_once(self, leases: Leases) -> None:
        """A key that was released is available at once."""
        holder = await leases.first.acquire(KEY)
        assert holder is not None
        assert await leases.second.acquire(KEY) is None
        await leases.first.release(KEY, holder)
        assert await leases.second.acquire(KEY) is not None

    async def test_a_lease_expires_by_itself(self, leases: Leases) -> None:
        """A holder that disappeared blocks a key no longer than the lease's lifetime."""
        began = time.monotonic()
        assert await leases.first.acquire(KEY) is not None
        await _acquired(leases.second)
        assert MILLISECONDS / 1000 - 0.05 < time.monotonic() - began < DEADLINE

    async def test_a_renewal_prolongs_the_lease(self, leases: Leases) -> None:
        """A holder that renews keeps the key beyond the lease's first lifetime."""
        holder = await leases.first.acquire(KEY)
        assert holder is not None
        end = time.monotonic() + 2 * MILLISECONDS / 1000
        while time.monotonic() < end:
            assert await leases.first.renew(KEY, holder)
            assert await leases.second.acquire(KEY) is None
            await asyncio.sleep(MILLISECONDS / 20_000)

    async def test_a_former_holder_cannot_touch_its_successors_lease(self, leases: Leases) -> None:
        """After its lease expired, a holder can neither renew nor release the lease of the next holder."""
        holder = await leases.first.acquire(KEY)
        assert holder is not None
        successor = await _acquired(leases.second)
        assert not await leases.first.renew(KEY, holder)
        await leases.first.release(KEY, holder)
        assert await leases.second.renew(KEY, successor)

    async def test_a_released_lease_cannot_be_renewed(self, leases: Leases) -> None:
        """A lease that was released cannot be renewed, and releasing it twice does no harm."""
        holder = await leases.first.acquire(KEY)
        assert holder is not None
        await leases.first.release(KEY, holder)
        assert not await leases.first.renew(KEY, holder)
        await leases.first.release(KEY, holder)


async def _acquired(lease: Lease) -> str:
    async with asyncio.timeout(DEADLINE):
        while True:
            holder = await lease.acquire(KEY)
            if holder is not None:
                return holder
            await asyncio.sleep(0.01)
