"""Every implementation of `LimitShares` gives replicas the same parts, and every key in Redis has an end."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import AsyncIterator, Callable

import pytest

from app.adapters.memory_cache import MemoryLimitShares
from app.adapters.redis import RedisClient, RedisLimitShares
from app.adapters.redis.scripts import Script
from app.domain.dependency_errors import CacheUnavailableError
from app.domain.fleet_limit import LeaseHistory, ShareClaim, ShareGrant
from app.domain.rate_limit import LimitScope, RateLimit
from app.ports import LimitShares
from tests.support.recorded_events import RecordedEvents
from tests.support.redis_server import RedisServer

LIMIT = RateLimit(200, 1.0, LimitScope.FLEET)
SLOW = RateLimit(60, 3600.0, LimitScope.FLEET)
"""A limit that gains nothing while a test runs."""

Views = tuple[LimitShares, LimitShares]


@pytest.fixture(params=["memory", "redis", "sentinel", "cluster"])
async def views(request: pytest.FixtureRequest, redis_url: Callable[[str], str]) -> AsyncIterator[Views]:
    """The limits as two replicas see them; in memory they are one."""
    if request.param == "memory":
        memory = MemoryLimitShares(time.monotonic)
        yield memory, memory
        return
    clients = [RedisClient(redis_url(request.param), RecordedEvents(), timeout=5.0) for _ in range(2)]
    prefix = f"test-{time.time_ns()}"
    yield RedisLimitShares(clients[0], prefix), RedisLimitShares(clients[1], prefix)
    for client in clients:
        await client.aclose()


def claim(
    demand: float, unspent: float = 0.0, limit: RateLimit = SLOW, history: LeaseHistory = LeaseHistory.NONE
) -> ShareClaim:
    """What a replica says of a caller."""
    return ShareClaim(limit, demand, unspent, history)


async def granted(view: LimitShares, replica: str, said: ShareClaim, caller: str = "journey") -> ShareGrant:
    """The answer to one claim."""
    return (await view.lease(replica, {caller: said})).grants[caller]


async def test_replicas_are_counted(views: Views) -> None:
    """Each one that asked lately counts once, also if it asked for nothing."""
    assert (await views[0].lease("one", {})).replicas == 1
    assert (await views[1].lease("two", {})).replicas == 2
    assert (await views[0].lease("one", {"journey": claim(1.0)})).replicas == 2


async def test_a_full_bucket_is_there_for_the_first_that_asks(views: Views) -> None:
    """It gets what it is asked for; two that want what is left get half of it each."""
    first = await granted(views[0], "one", claim(50.0))
    assert first.requests == pytest.approx(50.0, abs=0.1)
    assert first.level == pytest.approx(10.0, abs=0.1)
    second = await granted(views[1], "two", claim(50.0))
    assert second.requests == pytest.approx(5.0, abs=0.1)
    assert (await granted(views[1], "two", claim(50.0), caller="other")).requests == pytest.approx(50.0, abs=0.1)


async def test_what_is_given_back_is_there_for_others(views: Views) -> None:
    """A replica without a demand gives back all that it has left."""
    await granted(views[0], "one", claim(50.0))
    back = await granted(views[0], "one", claim(0.0, 40.0, history=LeaseHistory.LEASED))
    assert back.requests == -40.0
    assert back.level == pytest.approx(50.0, abs=0.1)
    assert (await granted(views[1], "two", claim(45.0))).requests == pytest.approx(45.0, abs=0.1)


async def test_a_debt_is_paid_before_anyone_gets_more(views: Views) -> None:
    """What passed before there was a lease is taken from the bucket, even if it then has less than nothing."""
    owing = await granted(views[0], "one", claim(70.0, -70.0))
    assert owing.requests == 70.0
    assert owing.level == pytest.approx(-10.0, abs=0.1)
    assert (await granted(views[1], "two", claim(5.0))).requests == 0.0


async def test_a_replica_that_was_alone_empties_the_bucket(views: Views) -> None:
    """What it let pass meanwhile is not known, so nothing is left for a burst."""
    alone = await granted(views[0], "one", claim(50.0, history=LeaseHistory.ALONE))
    assert alone.requests == pytest.approx(0.0, abs=0.1)
    assert alone.level == pytest.approx(0.0, abs=0.1)


async def test_a_lost_bucket_begins_empty_for_a_replica_that_has_a_lease(views: Views) -> None:
    """A replica without a lease finds a new bucket full, because a bucket is forgotten once it is full."""
    assert (await granted(views[0], "one", claim(50.0, history=LeaseHistory.LEASED))).level < 1.0
    assert (await granted(views[1], "one", claim(20.0), caller="other")).level == pytest.approx(40.0, abs=0.1)


async def test_the_whole_requests_of_a_small_limit_go_round(views: Views) -> None:
    """Of two replicas that want more than there is, the one that waited longer is next."""
    limit = RateLimit(1, 1.0, LimitScope.FLEET)
    served: list[str] = []
    end = time.monotonic() + 10.0
    kept = {"one": 0.0, "two": 0.0}
    while len(served) < 4:
        assert time.monotonic() < end
        for view, replica in zip(views, ("one", "two"), strict=True):
            grant = await granted(view, replica, claim(100.0, 0.0, limit, LeaseHistory.LEASED))
            kept[replica] += grant.requests
            if kept[replica] >= 1.0:
                kept[replica] -= 1.0
                served.append(replica)
        await asyncio.sleep(0.02)
    assert served in (["one", "two"] * 2, ["two", "one"] * 2)


async def test_the_script_computes_what_the_memory_does(redis_server: RedisServer) -> None:
    """Three replicas with any claims get the same of a limit that gains nothing meanwhile."""
    chance = random.Random(5)
    client = RedisClient(redis_server.url, RecordedEvents(), timeout=5.0)
    both = RedisLimitShares(client, "same"), MemoryLimitShares(time.monotonic)
    for _ in range(300):
        said = claim(
            chance.choice([0.0, 0.5, 3.0, 80.0]),
            chance.choice([-2.0, 0.0, 0.25, 1.0, 9.0]),
            RateLimit(1000, 3600.0, LimitScope.FLEET),
            chance.choice([LeaseHistory.LEASED] * 20 + [LeaseHistory.ALONE]),
        )
        replica = chance.choice(["one", "two", "three"])
        redis, memory = [await granted(shares, replica, said) for shares in both]
        assert (redis.requests, redis.level) == pytest.approx((memory.requests, memory.level), abs=0.2)
    await client.aclose()


async def test_many_callers_are_one_call(redis_server: RedisServer) -> None:
    """Five hundred callers in one script, whose keys share a slot, expire, and name no caller."""
    sink = RecordedEvents()
    client = RedisClient(redis_server.url, sink, timeout=5.0)
    shares = RedisLimitShares(client, "many")
    answer = await shares.lease("one", {f"caller-{number}": claim(1.0) for number in range(500)})
    assert len(answer.grants) == 500
    keys = [key.decode() for key in redis_server.run("KEYS", "many:*")]
    assert len(keys) == 501
    assert f"many:{{limits}}:{hashlib.sha256(b'caller-7').hexdigest()}" in keys
    for key in keys[:3]:
        assert 0 < int(redis_server.run("PTTL", key)) <= 3_620_000
    await client.aclose()


@pytest.mark.parametrize(
    "stored",
    [
        ("SET", "nonsense"),
        ("SET", "nan;nan;"),
        ("SET", "inf;1;"),
        ("SET", "-inf;inf;one,nan,nan,nan;"),
        ("SET", "1e999;5;a,b,c,d;one,1,1,1;"),
        ("SET", "-1e300;5;"),
        ("SET", "1e300;1e300;one,1e300,1e300,1e300;two,-1e300,5,5;"),
        ("SADD", "a-set"),
    ],
)
async def test_a_spoilt_bucket_counts_as_lost(redis_server: RedisServer, stored: tuple[str, str]) -> None:
    """Whatever someone writes into Redis, the next claim gets a finite answer and makes the bucket good again."""
    client = RedisClient(redis_server.url, RecordedEvents(), timeout=5.0)
    shares = RedisLimitShares(client, "spoilt")
    await shares.lease("one", {"journey": claim(50.0)})
    command, value = stored
    for key in redis_server.run("KEYS", "spoilt:*"):
        redis_server.run("DEL", key)
        redis_server.run(command, key, value)
    for _ in range(2):
        answer = await shares.lease("one", {"journey": claim(50.0, 0.0, LIMIT, LeaseHistory.LEASED)})
        assert answer.replicas == 1
        assert 0.0 <= answer.grants["journey"].requests <= 2 * LIMIT.requests
    await client.aclose()


@pytest.mark.parametrize("answer", ["'1'", "'1;2'", "'1;nan,1'", "'1;1,-inf'", "'x;1,1'", "1", "''"])
async def test_an_answer_that_is_not_the_scripts_counts_as_an_outage(redis_server: RedisServer, answer: str) -> None:
    """A server that answers something else gives no one a part, and stops nothing."""
    client = RedisClient(redis_server.url, RecordedEvents(), timeout=5.0)
    shares = RedisLimitShares(client, "odd", Script(f"return {answer}"))
    with pytest.raises(CacheUnavailableError):
        await shares.lease("one", {"journey": claim(1.0)})
    await client.aclose()
