"""Redis killed, frozen, full, read-only, locked or an impostor: reported at once in fixed words, and survived."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.adapters.redis import RedisTls
from app.domain.cache_entry import StoreOutcome
from app.domain.dependency_errors import CacheUnavailableError
from app.domain.events import DependencyCalled
from tests.support.cached_tokens import KEY, OTHER_KEY, REF, token_of
from tests.support.redis_broker import RedisReplica, redis_replica
from tests.support.redis_server import RedisServer, running_redis
from tests.support.tls import server_certificate

DEADLINE = 5.0
TOKEN = token_of(minted_at=round(time.time(), 3))
PASSWORD = "canary-password-of-redis"

OPERATIONS: dict[str, Callable[[RedisReplica], Awaitable[object]]] = {
    "read": lambda replica: replica.cache.read(KEY),
    "store": lambda replica: replica.cache.store(TOKEN),
    "raise_epoch": lambda replica: replica.purge_log.raise_epoch(REF, 0),
    "hold": lambda replica: replica.cache.hold(REF, 60),
    "claim": lambda replica: replica.cache.claim_replacement(REF, 60),
    "acquire": lambda replica: replica.lease.acquire(KEY),
    "renew": lambda replica: replica.lease.renew(KEY, "0" * 32),
    "release": lambda replica: replica.lease.release(KEY, "0" * 32),
}


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_frozen(own_redis: RedisServer, operation: str) -> None:
    """A Redis that accepts connections but does not answer costs a caller at most 0.6 s, whatever the operation."""
    async with redis_replica(own_redis.url) as replica:
        await OPERATIONS[operation](replica)
        with own_redis.frozen():
            began = time.monotonic()
            with pytest.raises(CacheUnavailableError, match="in time"):
                await OPERATIONS[operation](replica)
            assert time.monotonic() - began < 0.6
        assert replica.events.calls(operation)[-1] == "timeout"


async def test_a_cancelled_call_is_reported_as_cancelled(own_redis: RedisServer) -> None:
    """A cancelled call is not a Redis failure: the call is counted, and the circuit stays closed."""
    async with redis_replica(own_redis.url) as replica:
        await replica.cache.store(TOKEN)
        with own_redis.frozen():
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await replica.cache.read(KEY)
        assert replica.events.calls("read") == ["cancelled"] * 3
        assert (await replica.cache.read(KEY)).token == TOKEN


async def test_frozen_for_long(own_redis: RedisServer) -> None:
    """After three failures callers no longer wait; when Redis answers again, it is used within two seconds."""
    async with redis_replica(own_redis.url) as replica:
        await replica.cache.store(TOKEN)
        with own_redis.frozen():
            for _ in range(3):
                with pytest.raises(CacheUnavailableError):
                    await replica.cache.read(KEY)
            began = time.monotonic()
            for _ in range(100):
                with pytest.raises(CacheUnavailableError):
                    await replica.cache.read(KEY)
            assert time.monotonic() - began < 0.2
            assert replica.events.calls("read") == ["timeout"] * 3 + ["skipped"] * 100
        began = time.monotonic()
        await _read_again(replica)
        assert time.monotonic() - began < 2


async def test_one_try_at_a_time_while_away(own_redis: RedisServer) -> None:
    """While Redis is down, one of many concurrent callers tries it and the others fail without waiting."""
    async with redis_replica(own_redis.url) as replica:
        await replica.cache.store(TOKEN)
        with own_redis.frozen():
            for _ in range(3):
                with pytest.raises(CacheUnavailableError):
                    await replica.cache.read(KEY)
            await asyncio.sleep(1.05)
            await asyncio.gather(*(replica.cache.read(KEY) for _ in range(50)), return_exceptions=True)
            assert sorted(replica.events.calls("read")[3:]) == ["skipped"] * 49 + ["timeout"]


async def test_killed_and_restarted(own_redis: RedisServer) -> None:
    """A dead Redis is reported at once; after a restart, empty and without our scripts, it is used again."""
    async with redis_replica(own_redis.url) as replica:
        await replica.cache.store(TOKEN)
        own_redis.kill()
        began = time.monotonic()
        with pytest.raises(CacheUnavailableError, match="cannot be reached"):
            await replica.cache.read(KEY)
        assert time.monotonic() - began < 0.2
        assert replica.events.calls("read") == ["unreachable"]
        own_redis.start()
        await _read_again(replica)
        assert await replica.cache.store(TOKEN) is StoreOutcome.STORED


async def test_scripts_are_sent_again(own_redis: RedisServer) -> None:
    """A Redis that lost the scripts gets them again, invisibly to the caller."""
    async with redis_replica(own_redis.url) as replica:
        await replica.cache.store(TOKEN)
        own_redis.run("SCRIPT", "FLUSH")
        assert await replica.cache.store(TOKEN) is StoreOutcome.OLDER
        assert replica.events.calls("store") == ["ok", "ok"]


async def test_out_of_memory(own_redis: RedisServer) -> None:
    """A full Redis refuses writes but can still be read; the breaker stays closed."""
    async with redis_replica(own_redis.url) as replica:
        await replica.cache.store(TOKEN)
        own_redis.run("CONFIG", "SET", "maxmemory", "1")
        for _ in range(5):
            with pytest.raises(CacheUnavailableError, match="out of memory"):
                await replica.cache.store(token_of(OTHER_KEY, minted_at=time.time()))
        assert (await replica.cache.read(KEY)).token == TOKEN
        assert set(replica.events.calls("store")[1:]) == {"out_of_memory"}


async def test_read_only_replica(own_redis: RedisServer) -> None:
    """A demoted primary refuses writes but can still be read; promoted again, it accepts writes again."""
    async with redis_replica(own_redis.url) as replica:
        await replica.cache.store(TOKEN)
        own_redis.run("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(CacheUnavailableError, match="read-only"):
            await replica.purge_log.raise_epoch(REF, 0)
        assert (await replica.cache.read(KEY)).token == TOKEN
        own_redis.run("REPLICAOF", "NO", "ONE")
        assert await replica.purge_log.raise_epoch(REF, 0) == 1


async def test_lost_password() -> None:
    """A login that Redis refuses has its own message, which does not hold the password; nor does any repr."""
    with running_redis(acl=["user default on nopass ~* &* +@all", "user broker off >other ~* +@all"]) as server:
        async with redis_replica(server.url_as("broker", PASSWORD)) as replica:
            with pytest.raises(CacheUnavailableError, match="user name or password") as raised:
                await replica.cache.read(KEY)
            shown = "".join(traceback.format_exception(raised.value)) + repr(replica.events.all) + repr(replica.client)
            assert PASSWORD not in shown
            assert raised.value.__suppress_context__
            assert replica.events.calls("read") == ["unauthenticated"]


async def test_denied_keys() -> None:
    """For a user without access to the broker's keys the error says that Redis denies it."""
    users = ["user default on nopass ~* &* +@all", f"user broker on >{PASSWORD} ~other:* +@all"]
    with running_redis(acl=users) as server:
        async with redis_replica(server.url_as("broker", PASSWORD)) as replica:
            for name, operation in OPERATIONS.items():
                with pytest.raises(CacheUnavailableError, match="access list"):
                    await operation(replica)
                assert replica.events.calls(name) == ["forbidden"]


async def test_acquire_whose_answer_was_lost(own_redis: RedisServer) -> None:
    """A lease that Redis granted after the caller timed out does not lock the caller out of its own key."""
    async with redis_replica(own_redis.url, lease_milliseconds=30_000) as replica:
        await replica.lease.acquire(OTHER_KEY)
        with own_redis.frozen(), pytest.raises(CacheUnavailableError):
            await replica.lease.acquire(KEY)
        end = time.monotonic() + DEADLINE
        while not any(b":lease:" in name and b"01234567" in name for name in own_redis.key_names()):
            assert time.monotonic() < end, "Redis has not taken the lost command"
            await asyncio.sleep(0.01)
        holder = await replica.lease.acquire(KEY)
        assert holder is not None
        await replica.lease.release(KEY, holder)
        assert await replica.lease.acquire(KEY) is not None


async def test_cancelled_acquire(redis_server: RedisServer) -> None:
    """A cancelled attempt leaves no key locked for its caller, at whatever moment it was cancelled."""
    async with redis_replica(redis_server.url, lease_milliseconds=30_000) as replica:
        for microseconds in range(0, 3000, 60):
            trying = asyncio.create_task(replica.lease.acquire(KEY))
            await asyncio.sleep(microseconds / 1e6)
            trying.cancel()
            (holder,) = await asyncio.gather(trying, return_exceptions=True)
            if isinstance(holder, asyncio.CancelledError):
                holder = await replica.lease.acquire(KEY)
            assert isinstance(holder, str)
            await replica.lease.release(KEY, holder)


@pytest.mark.parametrize("moment", range(0, 2000, 50))
async def test_cancellation_is_never_lost(redis_server: RedisServer, moment: int) -> None:
    """A listener that is cancelled at any moment ends: otherwise it would keep the process from exiting."""
    async with redis_replica(redis_server.url) as replica:
        listening = asyncio.create_task(_listen(replica))
        await asyncio.sleep(moment / 1e6)
        listening.cancel()
        done, _ = await asyncio.wait([listening], timeout=DEADLINE)
        assert done
        assert listening.cancelled()


async def test_tls(tmp_path: Path) -> None:
    """Over TLS a certificate of the given CA for the host name is accepted; another CA, name, or plain TCP is not."""
    with ExitStack() as stack:
        stranger = tmp_path / "stranger"
        stranger.mkdir()
        certificate = server_certificate(tmp_path)
        other_ca = server_certificate(stranger)[2]
        server = stack.enter_context(running_redis(tls=certificate))
        ca = certificate[2]
        async with redis_replica(server.url, tls=RedisTls(ca)) as replica:
            assert await replica.cache.store(TOKEN) is StoreOutcome.STORED
            assert (await replica.cache.read(KEY)).token == TOKEN
        plain = server.url.replace("rediss", "redis")
        for url, cacert in [
            (server.url, other_ca),
            (server.url, None),
            (server.url_as(host="localhost"), ca),
            (plain, None),
        ]:
            async with redis_replica(url, tls=RedisTls(cacert)) as replica:
                with pytest.raises(CacheUnavailableError):
                    await replica.cache.read(KEY)


async def test_every_call_is_reported_once(redis_server: RedisServer) -> None:
    """Each operation emits one event with its duration; all its text is constant in the code."""
    async with redis_replica(redis_server.url) as replica:
        for operation in OPERATIONS.values():
            await operation(replica)
        calls = [event for event in replica.events.all if isinstance(event, DependencyCalled)]
        assert [call.operation for call in calls if call.operation != "announce"] == list(OPERATIONS)
        assert {(call.dependency, call.outcome) for call in calls} == {("redis", "ok")}
        assert all(0 < call.seconds < 1 for call in calls)


async def _listen(replica: RedisReplica) -> None:
    async for _ in replica.purge_log.purges():
        pass


async def _read_again(replica: RedisReplica) -> None:
    end = time.monotonic() + DEADLINE
    while True:
        try:
            await replica.cache.read(KEY)
        except CacheUnavailableError:
            assert time.monotonic() < end, "Redis is back, but is not used"
            await asyncio.sleep(0.02)
        else:
            return
