"""Redis behind Sentinels: the primary is found, left when it is replaced, and asked for by no request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest

from app.adapters.redis import RedisLogin, RedisTls
from app.domain.cache_entry import Purge, StoreOutcome
from app.domain.dependency_errors import CacheUnavailableError
from app.domain.events import DependencyCalled
from app.domain.names import CredentialRef
from app.shared_cache.key_names import KeyNames
from tests.support.cached_tokens import KEY, OTHER_KEY, token_of
from tests.support.children import free_port
from tests.support.documents import ref_of
from tests.support.redis_broker import RedisReplica, redis_replica
from tests.support.redis_server import RedisServer, running_redis
from tests.support.sentinel_redis import PRIMARY_NAME, SentinelGroup, SentinelServer, running_sentinels
from tests.support.shared_caches import listen
from tests.support.tls import server_certificate
from tests.support.waiting import until_answered

ANYONE = "user default on nopass ~* &* +@all"
REDIS_PASSWORD, SENTINEL_PASSWORD = "canary-of-redis", "canary-of-the-sentinels"
NEW_PRIMARY_SECONDS = 5.0
PATIENT = 2.0


async def stores(replica: RedisReplica) -> bool:
    """Whether a new token can be stored."""
    try:
        return await replica.cache.store(token_of(minted_at=time.time())) is StoreOutcome.STORED
    except CacheUnavailableError:
        return False


async def _load(replica: RedisReplica, end: asyncio.Event) -> None:
    """Reads and writes until `end`; what fails is counted in the replica's events."""
    while not end.is_set():
        for call in (replica.cache.read(KEY), replica.cache.store(token_of(OTHER_KEY, minted_at=time.time()))):
            with suppress(CacheUnavailableError):
                await call
        await asyncio.sleep(0.005)


def _replaced_on_order(group: SentinelGroup) -> RedisServer:
    new = group.replica
    for sentinel in group.sentinels:  # as by default: the old primary stays one for four of these periods
        sentinel.run("SENTINEL", "DEBUG", "publish-period", "3000")
    group.fail_over()
    return new


def _killed(group: SentinelGroup) -> RedisServer:
    new = group.replica
    group.primary.kill()
    group.wait_for_primary(new)
    return new


def _frozen(group: SentinelGroup) -> RedisServer:
    new = group.replica
    group.primary.freeze()
    group.wait_for_primary(new)
    return new


@pytest.mark.parametrize("lose", [_replaced_on_order, _killed, _frozen])
async def test_a_new_primary_is_used_under_load(
    own_sentinels: SentinelGroup, lose: Callable[[SentinelGroup], RedisServer]
) -> None:
    """Three replicas under load write to the new primary within 5 s, if the old one is replaced, dies or hangs."""
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(redis_replica(own_sentinels.url)) for _ in range(3)]
        assert await stores(replicas[0])
        end = asyncio.Event()
        loads = [asyncio.create_task(_load(replica, end)) for replica in replicas]
        new = await asyncio.to_thread(lose, own_sentinels)
        began = time.monotonic()
        for number, replica in enumerate(replicas):
            await until_answered(partial(_holds_at, new, replica, ref_of(number)), NEW_PRIMARY_SECONDS, every=0.01)
        print(f"{lose.__name__}: all write to the new primary after {time.monotonic() - began:.2f} s")
        assert time.monotonic() - began < NEW_PRIMARY_SECONDS
        end.set()
        await asyncio.gather(*loads)


async def _holds_at(server: RedisServer, replica: RedisReplica, ref: CredentialRef) -> bool:
    """Whether what the replica writes is at `server`."""
    try:
        await replica.cache.hold(ref, 60)
    except CacheUnavailableError:
        return False
    return KeyNames().hold(ref).encode() in server.key_names()


async def test_open_connections_outlive_all_sentinels(own_sentinels: SentinelGroup) -> None:
    """Without any Sentinel the connections to Redis go on, and a new replica says that none answers."""
    async with redis_replica(own_sentinels.url) as replica:
        assert await stores(replica)
        for sentinel in own_sentinels.sentinels:
            sentinel.kill()
        began = time.monotonic()
        while time.monotonic() - began < 3:  # beyond the time after which it looks for another primary
            await replica.cache.read(KEY)
        assert await stores(replica)
        assert set(replica.events.calls("read")) == {"ok"}
    async with redis_replica(own_sentinels.url) as late:
        with pytest.raises(CacheUnavailableError, match="None of the Sentinels in BROKER_REDIS_URL answers"):
            await late.cache.read(KEY)


async def test_a_sentinel_that_hangs_costs_nothing(own_sentinels: SentinelGroup) -> None:
    """With one Sentinel frozen and one dead the first call of a new replica still is in time."""
    own_sentinels.sentinels[1].kill()
    with own_sentinels.sentinels[0].frozen():
        async with redis_replica(own_sentinels.url) as replica:
            assert await stores(replica)


async def test_one_sentinel_of_another_opinion_decides_nothing(own_sentinels: SentinelGroup, tmp_path: Path) -> None:
    """A Sentinel that names another primary than the others, as after having been cut off, is outvoted."""
    with ExitStack() as stack:
        other = stack.enter_context(running_redis())
        stray = SentinelServer(tmp_path, other.port, None, [ANYONE])
        stack.callback(stray.kill)
        stray.start()
        url = own_sentinels.url.replace("://", f"://127.0.0.1:{stray.port},")
        for _ in range(5):
            async with redis_replica(url, timeout=PATIENT) as replica:
                assert await stores(replica)
        assert other.key_names() == []


async def test_a_demoted_primary_is_left_once(own_sentinels: SentinelGroup) -> None:
    """Of many calls that a demoted primary refuses, one closes the idle connections, and the next ones succeed."""
    old = own_sentinels.primary
    async with redis_replica(own_sentinels.url) as replica:
        assert await stores(replica)
        new = await asyncio.to_thread(_replaced_on_order, own_sentinels)
        old.run("REPLICAOF", "127.0.0.1", str(new.port))
        await asyncio.gather(*(stores(replica) for _ in range(20)))
        assert await stores(replica)
        assert set(replica.events.calls("store")) <= {"ok", "read_only", "unreachable"}
        assert replica.client._drops <= 2  # for the refusal, and for the answer of the Sentinels


async def test_purges_are_heard_after_a_failover(own_sentinels: SentinelGroup) -> None:
    """A replica that listens hears a purge that was announced at the new primary."""
    async with redis_replica(own_sentinels.url) as first, redis_replica(own_sentinels.url) as second:
        heard: list[Purge] = []
        listener = asyncio.create_task(_heard(second, heard))
        await first.purge_log.raise_epoch(KEY.ref, 0)
        await asyncio.to_thread(_replaced_on_order, own_sentinels)
        end = time.monotonic() + 2 * NEW_PRIMARY_SECONDS
        while not heard:
            assert time.monotonic() < end
            with suppress(CacheUnavailableError):
                await first.purge_log.raise_epoch(OTHER_KEY.ref, 0)
            await asyncio.sleep(0.1)
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)


async def _heard(replica: RedisReplica, heard: list[Purge]) -> None:
    while True:
        with suppress(CacheUnavailableError):
            await listen(replica.purge_log, lambda purge: heard.append(purge) if purge.ref == OTHER_KEY.ref else None)
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("with_tls", [False, True])
async def test_both_have_a_password(with_tls: bool, tmp_path: Path) -> None:
    """Redis and the Sentinels ask for a login each; over TLS both are verified with the same CA."""
    file = tmp_path / "password"
    file.write_text(SENTINEL_PASSWORD + "\n")
    tls = server_certificate(tmp_path) if with_tls else None
    users = [ANYONE, f"user broker on >{REDIS_PASSWORD} ~itb:* +@all"]
    asking = [ANYONE, f"user asks on >{SENTINEL_PASSWORD} -@all +sentinel|get-master-addr-by-name"]
    with running_sentinels(tls, users, asking) as group:
        files = None if tls is None else RedisTls(tls[2])
        url = group.url_as("broker", REDIS_PASSWORD)
        async with redis_replica(
            url, tls=files, sentinel_login=RedisLogin("asks", None, file), timeout=PATIENT
        ) as replica:
            assert await stores(replica)
        async with redis_replica(
            url, tls=files, sentinel_login=RedisLogin("asks", SENTINEL_PASSWORD + "x"), timeout=PATIENT
        ) as refused:
            with pytest.raises(CacheUnavailableError, match="The Sentinels refuse the broker's login"):
                await refused.cache.read(KEY)
            assert "canary" not in repr(refused.events.all)


@pytest.mark.parametrize(
    ("login", "sentence"),
    [
        (None, "The Sentinels refuse the broker's login"),
        (RedisLogin("other", "x"), "The Sentinels' access list does not allow the broker"),
    ],
)
async def test_a_login_that_is_not_enough(tmp_path: Path, login: RedisLogin | None, sentence: str) -> None:
    """Sentinels that ask for a login, or do not allow the question, are explained."""
    acl = ["user default off", "user other on >x -@all +ping"]
    await _refused(tmp_path, acl, PRIMARY_NAME, login, sentence)


async def test_a_name_that_the_sentinels_do_not_know(tmp_path: Path) -> None:
    """Another name of the primary than that of the Sentinels is explained."""
    await _refused(tmp_path, [ANYONE], "other", None, "The Sentinels do not know a primary of that name")


async def test_a_server_that_is_not_a_sentinel(own_redis: RedisServer) -> None:
    """The port of Redis instead of the Sentinel's is explained."""
    await _fails(f"redis+sentinel://127.0.0.1:{own_redis.port}/m", None, "are no Sentinels")


async def test_tls_to_a_sentinel_without_it(tmp_path: Path) -> None:
    """A Sentinel that does not serve TLS is named as the one whose handshake fails."""
    with ExitStack() as stack:
        sentinel = SentinelServer(tmp_path, free_port(), None, [ANYONE])
        stack.callback(sentinel.kill)
        sentinel.start()
        url = f"rediss+sentinel://127.0.0.1:{sentinel.port}/{PRIMARY_NAME}"
        await _fails(url, None, "None of the Sentinels|At the Sentinels: ")


async def _refused(folder: Path, acl: list[str], name: str, login: RedisLogin | None, sentence: str) -> None:
    with ExitStack() as stack:
        sentinel = SentinelServer(folder, free_port(), None, acl)
        stack.callback(sentinel.kill)
        sentinel.start()
        await _fails(f"redis+sentinel://127.0.0.1:{sentinel.port}/{name}", login, sentence)


async def _fails(url: str, login: RedisLogin | None, sentence: str) -> None:
    async with redis_replica(url, sentinel_login=login, timeout=PATIENT) as replica:
        with pytest.raises(CacheUnavailableError, match=sentence):
            await replica.cache.read(KEY)
        [call] = replica.events.of(DependencyCalled)
        assert call.outcome != "ok"


def test_a_login_at_sentinels_needs_sentinels() -> None:
    """A login at Sentinels together with a URL that names none is refused."""
    with pytest.raises(ValueError, match="BROKER_REDIS_SENTINEL_USERNAME and _PASSWORD_FILE are for"):
        RedisReplica("redis://127.0.0.1:1", sentinel_login=RedisLogin("asks", "x"))
