"""What an intruder with access to Redis alone can do, and what remains of it once that access is taken away."""

from __future__ import annotations

import asyncio
import contextlib
import time
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from app.adapters.redis import RedisExchangeBudget, RedisLimitShares
from app.adapters.redis.bounded_replies import MAX_REPLY_BYTES
from app.domain.cache_entry import MAX_EPOCH_AHEAD, StoreOutcome
from app.domain.dependency_errors import CacheUnavailableError
from app.domain.fleet_limit import LeaseHistory, ShareClaim
from app.domain.learned_rate import BudgetKey
from app.domain.names import CredentialName, CredentialRef
from app.domain.rate_limit import LimitScope, RateLimit
from app.shared_cache.key_names import KeyNames
from tests.support.cached_tokens import KEY, ORG, REF, token_of
from tests.support.redis_broker import RedisReplica, redis_replica
from tests.support.redis_server import RedisServer

CREDENTIAL = f"itb:{{{ORG}/default}}"
TOKEN_NAME, EPOCH_NAME, HOLD_NAME = f"{CREDENTIAL}:token:*", f"{CREDENTIAL}:epoch", f"{CREDENTIAL}:hold"
NOW = round(time.time(), 3)
TOKEN = token_of(minted_at=NOW)
LATER = token_of(value="eyJ.later", minted_at=NOW + 60)
HIGHEST = "9" * 15
"""The highest number of as many digits as the broker reads."""

CLIENT = BudgetKey("https://ims-na1.adobelogin.com", "client-of-the-tests")
YEARS = str(100 * 365 * 86_400_000)

without_an_end = pytest.mark.parametrize("expiry", [(), ("PX", YEARS)], ids=["no end", "a late end"])
"""Values that the broker does not write, because they have no end or one that is too late."""


@pytest.fixture
async def replica(redis_server: RedisServer) -> AsyncIterator[RedisReplica]:
    """One replica with an empty Redis."""
    async with redis_replica(redis_server.url) as replica:
        yield replica


async def test_an_older_record_does_not_come_back_after_a_purge(
    redis_server: RedisServer, replica: RedisReplica
) -> None:
    """A sealed record from before a purge opens, but is not a token, as long as the purge counter is there."""
    await replica.cache.store(TOKEN)
    record = redis_server.run("GET", TOKEN_NAME)
    epoch = await replica.purge_log.raise_epoch(REF, int(NOW * 1000))
    assert await replica.cache.store(replace(LATER, epoch=epoch)) is StoreOutcome.STORED
    redis_server.run("SET", TOKEN_NAME, record, "PX", 60_000)
    entry = await replica.cache.read(KEY)
    assert (entry.token, entry.epoch, replica.refused) == (None, epoch, [])


@pytest.mark.parametrize("forged", [HIGHEST, str(10**14)], ids=["digits", "decades"])
async def test_a_purge_counter_of_the_far_future_stops_no_purge(
    redis_server: RedisServer, replica: RedisReplica, forged: str
) -> None:
    """A counter that no purge can have reached counts as lost: otherwise there would be no room for the next purges."""
    redis_server.run("SET", EPOCH_NAME, forged)
    assert (await replica.cache.read(KEY)).epoch == 0
    assert list(await replica.purge_log.epochs([REF])) == [0]
    assert await replica.cache.store(TOKEN) is StoreOutcome.STORED
    epoch = await replica.purge_log.raise_epoch(REF, int(NOW * 1000))
    assert epoch == int(NOW * 1000) + 1
    assert (await replica.cache.read(KEY)).token is None
    redis_server.run("SET", EPOCH_NAME, forged)
    await replica.purge_log.restore_epoch(REF, epoch)
    assert list(await replica.purge_log.epochs([REF])) == [epoch]


async def test_a_purge_after_the_highest_plausible_counter_is_seen_by_all(
    redis_server: RedisServer, replica: RedisReplica
) -> None:
    """Scripts and readers have the same limit: a purge on top of a counter just below it is not taken for lost."""
    highest = int(time.time() * 1000) + MAX_EPOCH_AHEAD - 1000
    redis_server.run("SET", EPOCH_NAME, highest)
    assert await replica.purge_log.raise_epoch(REF, int(NOW * 1000)) == highest + 1
    async with redis_replica(redis_server.url) as other:
        assert list(await other.purge_log.epochs([REF])) == [highest + 1]


@without_an_end
async def test_a_lease_without_an_end(
    redis_server: RedisServer, replica: RedisReplica, expiry: tuple[str, ...]
) -> None:
    """A lease that no replica can hold so long is taken over; otherwise no replica would ever exchange again."""
    redis_server.run("SET", f"{CREDENTIAL}:lease:*", "intruder", *expiry)
    holder = await replica.lease.acquire(KEY)
    assert holder is not None
    async with redis_replica(redis_server.url) as other:
        assert await other.lease.acquire(KEY) is None


@without_an_end
async def test_a_back_off_without_an_end(
    redis_server: RedisServer, replica: RedisReplica, expiry: tuple[str, ...]
) -> None:
    """A back-off that IMS cannot have asked for is none, and hides none."""
    redis_server.run("SET", f"{CREDENTIAL}:hold", "1", *expiry)
    assert (await replica.cache.read(KEY)).hold == 0
    await replica.cache.hold(REF, 30)
    assert 29 < (await replica.cache.read(KEY)).hold <= 30


@without_an_end
async def test_a_claim_without_an_end(
    redis_server: RedisServer, replica: RedisReplica, expiry: tuple[str, ...]
) -> None:
    """A claim that lasts longer than a minute does not keep a token that Adobe refused in use."""
    redis_server.run("SET", f"{CREDENTIAL}:replaced", "1", *expiry)
    assert await replica.cache.claim_replacement(REF, 60)
    assert not await replica.cache.claim_replacement(REF, 60)


@without_an_end
@pytest.mark.parametrize(
    "record", [b"itb9999;of the next release", b"itb1;nokey;999999999999999;0;x", b"itb1;k1;1;999999999999999;x"]
)
async def test_a_record_without_an_end(
    redis_server: RedisServer, replica: RedisReplica, expiry: tuple[str, ...], record: bytes
) -> None:
    """A record of a later format, of an unknown key or of a later epoch does not end the sharing of tokens."""
    redis_server.run("SET", TOKEN_NAME, record, *expiry)
    assert (await replica.cache.read(KEY)).token is None
    assert await replica.cache.store(TOKEN) is StoreOutcome.STORED
    assert (await replica.cache.read(KEY)).token == TOKEN


@pytest.mark.parametrize(
    "forged",
    [
        "0.000001;1;1;0;{now};0",
        "1;-1000000000000;1;0;{now};0",
        "1;1;-1000000000000;0;{now};0",
        "nan;nan;nan;nan;nan;nan",
        "inf;-inf;inf;inf;{now};0",
        "5;0;0;0;99999999999;99999999999",
        "1e308;-1e308;0;0;0;0",
        "1;0;0;0;0",
        ";" * 1_000_000,
        "1;0;0;0;0;" * 100_000,
    ],
    ids=range(10),
)
async def test_a_forged_rate_of_exchanges(redis_server: RedisServer, replica: RedisReplica, forged: str) -> None:
    """A rate that the broker cannot have learned neither stops its exchanges, nor keeps it from learning one."""
    budget = RedisExchangeBudget(replica.client)
    redis_server.run("SET", KeyNames().budget(CLIENT), forged.format(now=NOW))
    assert await budget.take(CLIENT, was_refused=False) == 0
    assert await budget.take(CLIENT, was_refused=True) == 0
    await budget.throttled(CLIENT)
    assert 0 < await budget.take(CLIENT, was_refused=False) <= 5


@pytest.mark.parametrize("name", [TOKEN_NAME, EPOCH_NAME, HOLD_NAME])
async def test_a_huge_value_is_not_read(redis_server: RedisServer, replica: RedisReplica, name: str) -> None:
    """A value of 100 MB costs the broker little memory, is removed, and does not end the sharing of tokens."""
    await replica.cache.read(KEY)
    redis_server.run("SETRANGE", name, 100_000_000, "x")
    tracemalloc.start()
    try:
        assert (await replica.cache.read(KEY)).token is None
        assert tracemalloc.get_traced_memory()[1] < 4 * MAX_REPLY_BYTES
    finally:
        tracemalloc.stop()
    assert (replica.refused, replica.events.calls("read")[1:]) == (["integrity"], ["foreign_value"])
    assert redis_server.run("EXISTS", name) == 0
    assert await replica.cache.store(TOKEN) is StoreOutcome.STORED
    assert (await replica.cache.read(KEY)).token == TOKEN


async def test_a_huge_value_does_not_stop_redis(redis_server: RedisServer, replica: RedisReplica) -> None:
    """Scripts read no more of a value than the broker can have written: 100 MB would take longer than a call may."""
    names = KeyNames()
    for name in (names.lease(KEY), names.token(KEY), names.epoch(REF), names.budget(CLIENT), names.limit("journey")):
        redis_server.run("SETRANGE", name, 100_000_000, "x")
    holder = await replica.lease.acquire(KEY)
    assert holder is not None
    assert await replica.lease.renew(KEY, holder)
    assert await replica.cache.store(TOKEN) is StoreOutcome.STORED
    assert await replica.purge_log.raise_epoch(REF, 6) == 7
    assert await RedisExchangeBudget(replica.client).take(CLIENT, was_refused=False) == 0
    claim = ShareClaim(RateLimit(600, 60.0, LimitScope.FLEET), 5.0, 0.0, LeaseHistory.NONE)
    assert (await RedisLimitShares(replica.client).lease("one", {"journey": claim})).grants["journey"].level > 0


async def test_huge_purge_counters_do_not_end_comparisons(redis_server: RedisServer, replica: RedisReplica) -> None:
    """Counters that are too long to be read together are removed, so that the next comparison finds the others."""
    epoch = await replica.purge_log.raise_epoch(REF, int(NOW * 1000))
    others = [CredentialRef(ORG, CredentialName(f"other-{number}")) for number in range(300)]
    for ref in others:
        redis_server.run("SETRANGE", KeyNames().epoch(ref), 5000, "x")
    with pytest.raises(CacheUnavailableError):
        await replica.purge_log.epochs([REF, *others])
    assert list(await replica.purge_log.epochs([REF, *others])) == [epoch] + [0] * 300


@pytest.mark.parametrize(
    "reply",
    [
        b"$abc\r\n",
        b":abc\r\n",
        b"*abc\r\n",
        b"*1\r\n" * 100_000,
        b"+" + b"x" * 1_000_000,
        b"$-7\r\n",
        b"*9\r\n$-1\r\n",
        b":7\r\n",
        b"*0\r\n",
        b"$-1\r\n",
        b"+a,b,;\r\n",
        b"+1,2,3,;\r\n",
        b"+;\r\n",
        b"+1,2,3,4,;123456\r\n",
    ],
    ids=lambda reply: reply[:8],
)
async def test_nonsense_in_the_place_of_redis(reply: bytes) -> None:
    """A server that is not Redis, or someone between, causes no other error than that the cache is unavailable."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"PING" in await reader.read(1024):
            writer.write(b"+PONG\r\n")
            await reader.read(1)
        writer.write(reply)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
            await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, redis_replica(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0") as replica:
        with pytest.raises(CacheUnavailableError):
            await replica.cache.read(KEY)


@pytest.mark.parametrize("forged", ["-1e300;{now};", "-1000000000;{now};", "-1e300;0;x,1e308,{now},{now};"])
async def test_a_forged_debt_of_a_caller_is_paid_soon(
    redis_server: RedisServer, replica: RedisReplica, forged: str
) -> None:
    """A bucket that says that a caller owes requests of years costs it no more than one period of its limit."""
    limit = RateLimit(600, 60.0, LimitScope.FLEET)
    redis_server.run("SET", KeyNames().limit("journey"), forged.format(now=time.time()))
    said = ShareClaim(limit, 5.0, 0.0, LeaseHistory.LEASED)
    grant = (await RedisLimitShares(replica.client).lease("one", {"journey": said})).grants["journey"]
    assert grant.level >= -600
