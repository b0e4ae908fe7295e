"""What every lease does alike: the one in memory, and Redis seen by two replicas."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from app.adapters.memory_cache import MemoryLease
from app.adapters.redis import RedisClient, RedisLease
from app.ports import Lease
from tests.support.cached_tokens import ALL_KEYS, KEY
from tests.support.recorded_events import RecordedEvents
from tests.support.redis_server import RedisServer

DEADLINE = 5.0
MILLISECONDS = 400


@dataclass
class Leases:
    """The same leases as two replicas see them; in memory they are one."""

    first: Lease
    second: Lease


@pytest.fixture(params=["memory", "redis"])
async def leases(request: pytest.FixtureRequest) -> AsyncIterator[Leases]:
    """Each kind of lease in turn; nothing is held."""
    if request.param == "memory":
        memory = MemoryLease(time.monotonic, MILLISECONDS)
        yield Leases(memory, memory)
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    clients = [RedisClient(server.url, RecordedEvents()) for _ in range(2)]
    first, second = (RedisLease(client, milliseconds=MILLISECONDS) for client in clients)
    yield Leases(first, second)
    for client in clients:
        await client.aclose()


class TestLease:
    """The contract."""

    async def test_one_holder(self, leases: Leases) -> None:
        """Of many who want a key at once, over two replicas, one gets it."""
        holders = await asyncio.gather(*(lease.acquire(KEY) for lease in [leases.first, leases.second] * 20))
        assert len([holder for holder in holders if holder is not None]) == 1

    async def test_keys_are_independent(self, leases: Leases) -> None:
        """Holding one key keeps nobody from another one; no two holders have the same value."""
        holders = [await leases.first.acquire(key) for key in ALL_KEYS]
        assert None not in holders
        assert len(set(holders)) == len(ALL_KEYS)

    async def test_release(self, leases: Leases) -> None:
        """A key that was given back can be had at once."""
        holder = await leases.first.acquire(KEY)
        assert holder is not None
        assert await leases.second.acquire(KEY) is None
        await leases.first.release(KEY, holder)
        assert await leases.second.acquire(KEY) is not None

    async def test_lease_ends_by_itself(self, leases: Leases) -> None:
        """A holder that is gone keeps a key no longer than the lease's life."""
        began = time.monotonic()
        assert await leases.first.acquire(KEY) is not None
        await _acquired(leases.second)
        assert MILLISECONDS / 1000 - 0.05 < time.monotonic() - began < DEADLINE

    async def test_renewal_prolongs(self, leases: Leases) -> None:
        """A holder that renews keeps the key beyond the lease's first life."""
        holder = await leases.first.acquire(KEY)
        assert holder is not None
        end = time.monotonic() + 2 * MILLISECONDS / 1000
        while time.monotonic() < end:
            assert await leases.first.renew(KEY, holder)
            assert await leases.second.acquire(KEY) is None
            await asyncio.sleep(MILLISECONDS / 20_000)

    async def test_one_who_lost_it_cannot_touch_the_successors(self, leases: Leases) -> None:
        """After its lease ended, a holder can neither renew nor give back what is another's by now."""
        holder = await leases.first.acquire(KEY)
        assert holder is not None
        successor = await _acquired(leases.second)
        assert not await leases.first.renew(KEY, holder)
        await leases.first.release(KEY, holder)
        assert await leases.second.renew(KEY, successor)

    async def test_renewing_what_nobody_holds(self, leases: Leases) -> None:
        """A lease that was given back cannot be renewed, and giving it back twice does no harm."""
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
