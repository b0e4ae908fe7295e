"""Rows 3 and 4: the link to Redis is slow, or breaks in the middle of an answer."""

from __future__ import annotations

import asyncio
import time

from app.domain.dependency_errors import CacheUnavailableError
from tests.support.cached_tokens import ALL_KEYS, token_of
from tests.support.fleet import Fleet
from tests.support.redis_broker import redis_replica
from tests.support.redis_server import RedisServer
from tests.support.relayed_link import LinkFaults, relayed
from tests.support.traffic import traffic
from tests.support.waiting import until_answered

NOW = 1_900_000_000.0
ENOUGH = 25
"""Torn answers."""


async def test_a_slow_redis_slows_no_warm_request(fleet: Fleet) -> None:
    """With 300 ms per answer of Redis, warm tenants are served from memory, and cold ones get a token all the same."""
    faults = LinkFaults()
    warm, cold = fleet.tenant(), [fleet.tenant() for _ in range(5)]
    server = fleet.redis.server
    async with relayed(server.port, faults) as port:
        url = fleet.redis.url.replace(f":{server.port}/", f":{port}/")
        replicas = await asyncio.to_thread(lambda: fleet.start(2, REDIS_URL=url))
        assert {(await replica.token(warm.org)).status for replica in replicas} == {200}
        faults.delay = 0.3
        for replica in replicas:
            replies = [await replica.token(warm.org) for _ in range(20)]
            replies += [await replica.token(tenant.org) for tenant in cold]
            assert {reply.status for reply in replies} == {200}
        lines = [line for replica in replicas for line in replica.audit_lines() if line.get("org") == warm.org]
        assert [line["tier"] for line in lines].count("memory") == 40
    assert len(fleet.exchanges(warm)) == 1
    assert max(len(fleet.exchanges(tenant)) for tenant in cold) <= 2


async def test_a_redis_just_within_its_deadline_is_used_and_delays_no_warm_request(fleet: Fleet) -> None:
    """With 200 ms per answer, calls succeed over open connections only. Nothing fails, and purges still get around.

    A replica that starts now never has a connection for calls within their 250 ms, and exchanges for itself.
    """
    faults, server = LinkFaults(), fleet.redis.server
    warm, cold = [fleet.tenant() for _ in range(10)], [fleet.tenant() for _ in range(5)]
    short = [fleet.tenant(token_lifetime=10.0) for _ in range(3)]
    async with relayed(server.port, faults) as port:
        url = fleet.redis.url.replace(f":{server.port}/", f":{port}/")
        [early] = await asyncio.to_thread(fleet.start, 1, REDIS_URL=url)
        assert {(await early.token(tenant.org)).status for tenant in (*warm, *short)} == {200}
        faults.delay = 0.2
        [late] = await asyncio.to_thread(fleet.start, 1, REDIS_URL=url)
        assert {(await late.token(tenant.org)).status for tenant in warm} == {200}
        replicas = (early, late)
        async with traffic(lambda number: replicas[number % 2].token(warm[number % 10].org), 50) as seen:
            replies = [await early.token(tenant.org) for tenant in cold]
            print(f"cold: {[round(reply.seconds, 2) for reply in replies]} s")
            assert {reply.status for reply in replies} == {200}
            assert max(reply.seconds for reply in replies) < 5
            for replica in replicas:
                assert (await replica.get("/readyz")).status == 200
            end = time.monotonic() + 12
            while time.monotonic() < end:
                assert {(await early.token(tenant.org)).status for tenant in short} == {200}
                await asyncio.sleep(0.1)
        assert seen.failures() == []
        seconds = sorted(reply.seconds for _, reply in seen.replies)
        median, late_ones = seconds[len(seconds) // 2], seconds[-len(seconds) // 100]
        print(f"warm: median {median * 1000:.1f} ms, p99 {late_ones * 1000:.1f} ms")
        assert seconds[len(seconds) * 9 // 10] < faults.delay
        assert max(len(fleet.exchanges(tenant)) for tenant in (*warm, *cold)) <= 2
        assert all(3 <= len(fleet.exchanges(tenant)) <= 5 for tenant in short)
        tokens = [(await replica.token(warm[0].org)).json["access_token"] for replica in replicas]
        assert (await early.purge(warm[0].org)).status == 204

        async def is_purged() -> bool:
            return (await late.token(warm[0].org)).json["access_token"] not in tokens

        await until_answered(is_purged, 8)


async def test_a_torn_answer_is_never_another_tenants_token(own_redis: RedisServer) -> None:
    """While connections break within answers, a read gives its own token or an error; afterwards all work again."""
    faults = LinkFaults()
    tokens = [token_of(key, f"eyJ.{number}", minted_at=NOW) for number, key in enumerate(ALL_KEYS)]
    async with relayed(own_redis.port, faults) as port, redis_replica(f"redis://127.0.0.1:{port}/0") as replica:
        for token in tokens:
            await replica.cache.store(token)
        faults.tear_every, good = 4, 0
        async with asyncio.timeout(60):
            while faults.torn < ENOUGH:
                entries = await asyncio.gather(
                    *(replica.cache.read(token.key) for token in tokens), return_exceptions=True
                )
                for token, entry in zip(tokens, entries, strict=True):
                    if isinstance(entry, BaseException):
                        assert isinstance(entry, CacheUnavailableError)
                    else:
                        assert entry.token == token
                        good += 1
                await asyncio.sleep(0.01)
        assert good > 0
        assert "unreachable" in replica.events.calls("read")
        faults.tear_every = 0
        await asyncio.sleep(1.1)  # the pause of the circuit breaker
        for token in tokens:
            assert (await replica.cache.read(token.key)).token == token
        assert replica.refused == []
