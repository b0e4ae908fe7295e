"""Redis Cluster: each call goes to the node that owns its slot, follows slots that move, and outlives every loss."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from app.adapters.redis import RedisLogin, RedisTls, sealed_counts
from app.domain.access_token import AccessToken
from app.domain.cache_entry import Purge, StoreOutcome
from app.domain.dependency_errors import CacheUnavailableError
from app.domain.events import DependencyCalled
from app.domain.names import CredentialRef, TokenKey
from app.shared_cache.key_names import KeyNames
from tests.support.cached_tokens import SOME_SCOPES, token_of
from tests.support.cluster_redis import RedisCluster, running_cluster
from tests.support.documents import ref_of
from tests.support.redis_broker import RedisReplica, redis_replica
from tests.support.redis_server import RedisServer
from tests.support.shared_caches import listen
from tests.support.tls import server_certificate
from tests.support.waiting import until_answered

ANYONE = "user default on nopass ~* &* +@all"
PASSWORD = "canary-of-redis"
NAMES = KeyNames()
BACK_SECONDS = 5.0
PATIENT = 2.0
KEYS = [TokenKey(ref_of(number)) for number in range(30)]


def token(key: TokenKey) -> AccessToken:
    """A token that is newer than each that was made before."""
    return token_of(key, minted_at=round(time.time(), 3))


def outcomes(replica: RedisReplica) -> set[str]:
    """How the calls so far have ended."""
    return {call.outcome for call in replica.events.of(DependencyCalled)}


async def stores(replica: RedisReplica, key: TokenKey) -> bool:
    """Whether a new token can be stored and is read."""
    try:
        new = token(key)
        return await replica.cache.store(new) is StoreOutcome.STORED and (await replica.cache.read(key)).token == new
    except CacheUnavailableError:
        return False


def key_at(cluster: RedisCluster, node: RedisServer) -> TokenKey:
    """A key whose slot is at `node`."""
    return next(key for key in KEYS if cluster.owner(NAMES.token(key)) is node)


async def _load(replica: RedisReplica, keys: Sequence[TokenKey], end: asyncio.Event) -> None:
    while not end.is_set():
        for key in keys:
            for call in (replica.cache.read(key), replica.cache.store(token(key))):
                with suppress(CacheUnavailableError):
                    await call
            await asyncio.sleep(0.002)


async def test_every_node_is_used(own_cluster: RedisCluster) -> None:
    """Thirty credentials are on all three primaries; epochs of all are read at once, and seals are counted at all."""
    async with redis_replica(own_cluster.url) as replica:
        for key in KEYS:
            assert await stores(replica, key)
            assert await replica.purge_log.raise_epoch(key.ref, 6) == 7
        assert list(await replica.purge_log.epochs([key.ref for key in KEYS])) == [7] * len(KEYS)
        assert all(node.key_names() for node in own_cluster.nodes[:3])
        assert await sealed_counts(replica.client, "itb") == {"k1": len(KEYS)}
        assert outcomes(replica) == {"ok"}


async def test_slots_move_under_load(own_cluster: RedisCluster) -> None:
    """While slots move to other nodes and stay half moved for a while, no call fails, and none is answered wrongly."""
    async with redis_replica(own_cluster.url, timeout=PATIENT) as replica:
        for key in KEYS[:6]:
            assert await stores(replica, key)
        end = asyncio.Event()
        load = asyncio.create_task(_load(replica, KEYS[:6], end))
        for key in KEYS[:3]:
            await asyncio.to_thread(own_cluster.migrate, NAMES.token(key))
            assert own_cluster.owner(NAMES.token(key)) is not None
        await asyncio.sleep(0.2)
        end.set()
        await load
        assert outcomes(replica) == {"ok"}
        for key in KEYS[:6]:
            assert await stores(replica, key)


async def test_a_slot_that_is_half_moved_is_read_and_written(own_cluster: RedisCluster) -> None:
    """A token that is still at the old node is read there, and a key that exists nowhere yet is made at the new one."""
    key, new_key = KEYS[0], TokenKey(KEYS[0].ref, SOME_SCOPES)
    async with redis_replica(own_cluster.url, timeout=PATIENT) as replica:
        stored = token(key)
        await replica.cache.store(stored)
        new = own_cluster.migrate(NAMES.token(key), end=False)
        assert (await replica.cache.read(key)).token == stored
        holder = await replica.lease.acquire(new_key)
        assert holder is not None
        assert await replica.lease.renew(new_key, holder)
        assert NAMES.lease(new_key).encode() in new.key_names()
        assert list(await replica.purge_log.epochs([each.ref for each in KEYS])) == [0] * len(KEYS)


@pytest.mark.parametrize("purged", [False, True])
async def test_a_key_that_has_moved_before_its_slot_is_read(own_cluster: RedisCluster, *, purged: bool) -> None:
    """Of a token and its purge counter, one may be at the new node already: both are found, and the back-off."""
    key = KEYS[0]
    async with redis_replica(own_cluster.url) as replica:
        epoch = await replica.purge_log.raise_epoch(key.ref, 6) if purged else 0
        stored = replace(token(key), epoch=epoch)
        await replica.cache.store(stored)
        await replica.cache.hold(key.ref, 60)
        old, name = own_cluster.owner(NAMES.token(key)), NAMES.token(key)
        new = own_cluster.migrate(name, end=False)
        old.run("MIGRATE", "127.0.0.1", new.port, name, 0, 5000)
        entry = await replica.cache.read(key)
        assert (entry.token, entry.epoch) == (stored, epoch)
        assert entry.hold > 0
        assert entry.remaining is not None


@pytest.mark.parametrize("way", ["killed", "frozen"])
async def test_a_node_is_lost_under_load(own_cluster: RedisCluster, way: str) -> None:
    """If a primary dies or hangs, its replica is used within 5 s of taking over, and the other nodes all the time."""
    lost = own_cluster.nodes[0]
    mine, other = key_at(own_cluster, lost), key_at(own_cluster, own_cluster.nodes[1])
    async with redis_replica(own_cluster.url) as replica:
        assert await stores(replica, mine)
        assert await stores(replica, other)
        end = asyncio.Event()
        load = asyncio.create_task(_load(replica, [mine], end))
        lost.kill() if way == "killed" else lost.freeze()

        async def is_replaced() -> bool:
            with suppress(CacheUnavailableError):
                await replica.cache.claim_replacement(other.ref, 1.0)
            return await asyncio.to_thread(own_cluster.owner, NAMES.token(mine)) is not lost

        await until_answered(is_replaced, 20)
        began = time.monotonic()
        await until_answered(lambda: stores(replica, mine), BACK_SECONDS)
        assert {"ok"} <= set(replica.events.calls("claim")) <= {"ok", "cluster_down"}  # it wants full coverage
        print(f"{way}: writes are back {time.monotonic() - began:.2f} s after the replica took over")
        end.set()
        await load
        if way == "frozen":
            lost.thaw()
        assert await stores(replica, mine)


async def test_all_nodes_are_down_and_come_back() -> None:
    """After all nodes were down, also on the way of the start-up nodes, the same client works again within 5 s."""
    with running_cluster() as cluster:
        async with redis_replica(cluster.url) as replica:
            for key in KEYS[:6]:
                assert await stores(replica, key)
            for node in cluster.nodes:
                node.freeze()
            for _ in range(10):
                assert not await stores(replica, KEYS[0])
            for node in cluster.nodes:
                node.thaw()
            cluster.wait_until_whole()
            began = time.monotonic()
            for key in KEYS[:6]:
                await until_answered(lambda key=key: stores(replica, key), BACK_SECONDS)  # type: ignore[misc]
            print(f"back {time.monotonic() - began:.2f} s after the cluster")


async def test_all_processes_die_and_come_back() -> None:
    """After every process of a cluster was killed and started again, empty, the same client works again."""
    with running_cluster() as cluster:
        async with redis_replica(cluster.url) as replica:
            assert await stores(replica, KEYS[0])
            for node in cluster.nodes:
                node.kill()
            for _ in range(10):
                with pytest.raises(CacheUnavailableError):
                    await replica.cache.read(KEYS[0])
            for node in cluster.nodes:
                node.start()
            cluster.wait_until_whole()
            await until_answered(lambda: stores(replica, KEYS[0]), BACK_SECONDS)


async def test_purges_are_heard_from_the_node_of_the_stream(own_cluster: RedisCluster) -> None:
    """Purges of credentials of all nodes are heard, also after the stream has moved to another node."""
    async with redis_replica(own_cluster.url) as first, redis_replica(own_cluster.url) as second:
        heard: set[CredentialRef | None] = set()
        listener = asyncio.create_task(_heard(second, heard))
        wanted = {key.ref for key in KEYS[:4]}

        async def all_heard() -> bool:
            for ref in wanted:
                with suppress(CacheUnavailableError):
                    await first.purge_log.raise_epoch(ref, 0)
            return wanted <= heard

        await until_answered(all_heard, BACK_SECONDS)
        await asyncio.to_thread(own_cluster.migrate, NAMES.purges)
        heard.clear()
        await until_answered(all_heard, BACK_SECONDS)
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)


async def _heard(replica: RedisReplica, heard: set[CredentialRef | None]) -> None:
    def note(purge: Purge) -> None:
        heard.add(purge.ref)

    while True:
        with suppress(CacheUnavailableError):
            await listen(replica.purge_log, note)
        await asyncio.sleep(0.05)


async def test_a_cluster_with_tls_and_a_password(tmp_path: Path) -> None:
    """Every node is reached over TLS with the same CA and login."""
    tls = server_certificate(tmp_path)
    with running_cluster(tls, [ANYONE, f"user broker on >{PASSWORD} ~itb:* +@all"]) as cluster:
        login = RedisLogin("broker", PASSWORD)
        async with redis_replica(cluster.url, tls=RedisTls(tls[2]), login=login, timeout=PATIENT) as replica:
            for key in KEYS[:6]:
                assert await stores(replica, key)
        async with redis_replica(cluster.url, tls=RedisTls(tls[2]), login=RedisLogin("broker", "x")) as refused:
            with pytest.raises(CacheUnavailableError, match="refuses the broker's user name or password"):
                await refused.cache.read(KEYS[0])


async def test_a_server_that_is_not_a_cluster(own_redis: RedisServer) -> None:
    """A URL of a cluster that leads to a single server is explained."""
    async with redis_replica(f"redis+cluster://127.0.0.1:{own_redis.port}") as replica:
        with pytest.raises(CacheUnavailableError, match="This Redis is not a cluster"):
            await replica.cache.read(KEYS[0])


async def test_slots_without_an_owner(own_cluster: RedisCluster) -> None:
    """A cluster that has lost a primary without replica says so for all its keys, and the breaker stays closed."""
    own_cluster.nodes[3].kill()
    own_cluster.nodes[0].kill()
    mine = key_at(own_cluster, own_cluster.nodes[1])
    async with redis_replica(own_cluster.url) as replica:

        async def says_so() -> bool:
            with suppress(CacheUnavailableError):
                await replica.cache.read(mine)
            return replica.events.calls("read")[-1] == "cluster_down"

        await until_answered(says_so, 20)
        with pytest.raises(CacheUnavailableError, match="has no primary for that key at the moment"):
            await replica.cache.read(mine)
