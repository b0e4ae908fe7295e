"""Rows 1, 2, 7, 8, 9 and 11: Redis stops, dies, is damaged or loses everything while three replicas are asked."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import pytest

from tests.support.crowd import at_once
from tests.support.fleet import Fleet
from tests.support.redis_server import RedisServer
from tests.support.replica import BrokerProcess
from tests.support.tenants import Tenant, claims_of
from tests.support.traffic import traffic
from tests.support.waiting import until_answered
from tests.support.wire import Reply

LOAD = int(os.environ.get("LOAD", "50"))
"""Requests per second; `LOAD=500` for 200 warm and 50 cold tenants."""

WARM, COLD = LOAD * 2 // 5, LOAD // 10


class Asker:
    """Asks replicas for tokens of random tenants, and checks whose tokens come.

    Args:
        replicas: Whom it asks, in turn.
        tenants: Whose tokens.

    """

    def __init__(self, replicas: Sequence[BrokerProcess], tenants: Sequence[Tenant]) -> None:
        self.replicas, self.tenants = list(replicas), list(tenants)
        self.strange: list[str] = []
        self.times: list[tuple[float, str, float]] = []
        self._draw = random.Random(1)

    async def __call__(self, number: int) -> Reply:
        """One request."""
        tenant, began = self._draw.choice(self.tenants), time.monotonic()
        reply = await self.replicas[number % len(self.replicas)].token(tenant.org)
        self.times.append((began, tenant.org, reply.seconds))
        if reply.status == 200 and not belongs(reply, tenant):
            self.strange.append(tenant.org)
        return reply

    def p99(self, tenants: Sequence[Tenant], since: float, until: float = float("inf")) -> float:
        """The 99th percentile of the seconds that requests of a period for some tenants took."""
        orgs = {tenant.org for tenant in tenants}
        times = sorted(seconds for at, org, seconds in self.times if since <= at < until and org in orgs)
        return times[len(times) * 99 // 100]


def belongs(reply: Reply, tenant: Tenant) -> bool:
    """Whether a token is the tenant's, by the token itself."""
    return bool(
        reply.json["org_id"] == tenant.org and claims_of(reply.json["access_token"])["client_id"] == tenant.client_id
    )


async def warmed(fleet: Fleet, count: int) -> list[Tenant]:
    """Tenants whose token each replica has in memory."""
    tenants = [fleet.tenant() for _ in range(count)]
    for replica in fleet.replicas:
        replies = await at_once((replica, replica.token_request(tenant.org)) for tenant in tenants)
        assert {reply.status for reply in replies} == {200}
    return tenants


@contextlib.asynccontextmanager
async def without(server: RedisServer, how: str) -> AsyncIterator[None]:
    """Redis is frozen or dead for as long as the context lasts."""
    server.freeze() if how == "frozen" else server.kill()
    try:
        yield
    finally:
        server.thaw() if how == "frozen" else server.start()


@pytest.mark.parametrize("how", ["frozen", "killed"])
async def test_a_redis_that_stops_or_dies_fails_no_request(fleet: Fleet, how: str) -> None:
    """Without Redis, warm and cold tenants get nothing but 200 under load, for at most one exchange per replica."""
    fleet.start(3)
    warm, cold = await warmed(fleet, WARM), [fleet.tenant() for _ in range(COLD)]
    asker = Asker(fleet.replicas, warm)
    async with traffic(asker, LOAD) as seen:
        began = time.monotonic()
        await asyncio.sleep(2.0)
        async with without(fleet.redis.server, how):
            broke = time.monotonic()
            asker.tenants += cold
            await asyncio.sleep(5.0)
        await asyncio.sleep(2.0)
    assert seen.failures() == []
    assert asker.strange == []
    assert len(seen.since(broke)) > LOAD
    assert max(reply.seconds for _, reply in seen.replies) < 15
    assert {len(fleet.exchanges(tenant)) for tenant in warm} == {1}
    assert max(len(fleet.exchanges(tenant)) for tenant in cold) <= len(fleet.replicas)
    before, after = asker.p99(warm, began, broke), asker.p99(warm, broke + 1)
    print(
        f"{how}: {len(seen.replies)} answers; p99 of warm ones {before:.3f} s, and {after:.3f} s after the first second"
    )

    async def share() -> bool:
        tenant = fleet.tenant()
        return len({(await replica.token(tenant.org)).json["access_token"] for replica in fleet.replicas}) == 1

    await until_answered(share, 15)


async def test_a_flush_fails_no_request_and_costs_at_most_one_exchange_each(fleet: Fleet) -> None:
    """FLUSHALL again and again under load: nothing but 200, one exchange per tenant, and a few more for cold ones."""
    fleet.start(3)
    warm, cold = await warmed(fleet, WARM), [fleet.tenant() for _ in range(COLD)]
    # A stream of purges that is lost makes the replicas compare what they know with Redis.
    assert (await fleet.replicas[0].purge(fleet.tenant().org)).status == 204
    asker = Asker(fleet.replicas, warm)
    async with traffic(asker, LOAD) as seen:
        await asyncio.sleep(0.5)
        for tenant in cold:
            await asyncio.to_thread(fleet.redis.server.flush)
            asker.tenants.append(tenant)
            await asyncio.sleep(0.4)
    assert seen.failures() == []
    assert asker.strange == []
    assert {len(fleet.exchanges(tenant)) for tenant in warm} == {1}
    asked = [tenant for tenant in cold if fleet.exchanges(tenant)]
    assert asked
    # A flush between two replicas' first requests takes the token that the second one would have found.
    assert max(len(fleet.exchanges(tenant)) for tenant in asked) <= len(fleet.replicas)


def _damages(fleet: Fleet) -> Iterator[Callable[[bytes, bytes], None]]:
    """Ways to damage a value in Redis; each gets the names of two."""
    run = fleet.redis.server.run

    def put(name: bytes, value: bytes) -> None:
        run("SET", name, value, "KEEPTTL")

    def flip(name: bytes, _other: bytes) -> None:
        value = bytearray(run("GET", name))
        value[-1] ^= 1
        put(name, bytes(value))

    def swap(name: bytes, other: bytes) -> None:
        first, second = run("GET", name), run("GET", other)
        put(name, second)
        put(other, first)

    def retype(name: bytes, _other: bytes) -> None:
        run("DEL", name)
        run("LPUSH", name, "x")

    yield flip
    yield swap
    yield retype
    yield lambda name, _other: put(name, run("GET", name)[:-7])
    yield lambda name, _other: put(name, b"")
    yield lambda name, _other: put(name, b"itb0;k1;9999999999999;0;of an older release")


async def test_damaged_values_fail_no_request_and_give_no_wrong_token(fleet: Fleet) -> None:
    """Flipped, swapped, cut, empty, retyped and outdated values are counted misses: 200 with the tenant's own token."""
    [first] = fleet.start(1)
    ways = list(_damages(fleet))
    tenants = await warmed(fleet, 2 * 2 * len(ways))
    asker = Asker([first], tenants)
    async with traffic(asker, LOAD) as seen:
        names = {tenant.org: _token_name(fleet, tenant) for tenant in tenants}
        pairs = list(zip(tenants[::2], tenants[1::2], strict=True))
        for number, (one, other) in enumerate(pairs):
            ways[number % len(ways)](names[one.org], names[other.org])
        # They find nothing in their memory, and so they read what is damaged.
        empty = await asyncio.to_thread(fleet.start, 2)
        asker.replicas += empty
        await asyncio.sleep(1.0)
        for replica in empty:
            replies = await at_once((replica, replica.token_request(tenant.org)) for tenant in tenants)
            assert Counter(reply.status for reply in replies) == {200: len(tenants)}
            assert all(belongs(reply, tenant) for reply, tenant in zip(replies, tenants, strict=True))
    assert seen.failures() == []
    assert asker.strange == []
    assert max(len(fleet.exchanges(tenant)) for tenant in tenants) <= 2
    assert sum([await _refused(replica) for replica in (first, *empty)]) >= len(pairs) * 5 / 6


def _token_name(fleet: Fleet, tenant: Tenant) -> bytes:
    [name] = [name for name in fleet.redis.server.key_names() if tenant.org.encode() in name and b":token:" in name]
    return name


async def _refused(replica: BrokerProcess) -> float:
    """How many records of Redis a replica refused."""
    text = (await replica.get("/metrics")).body.decode()
    return sum(
        map(float, re.findall(r"^ims_token_broker_cache_records_refused_total\{[^}]*\} (\S+)$", text, re.MULTILINE))
    )
