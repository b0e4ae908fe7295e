"""The Redis user of `docs/least-privilege.md` may do what the broker does, and nothing of it can be left out."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError

from app.adapters.redis.key_ring import new_key_ring
from app.domain.access_token import AccessToken
from app.domain.errors import CacheUnavailableError
from app.ports import Purge, StoreOutcome
from tests.support.backends import sandbox_backend
from tests.support.broker_without_vault import BrokerWithoutVault
from tests.support.cached_tokens import KEY, REF, key_ring, token_of
from tests.support.documented_files import documented_files
from tests.support.redis_broker import RedisReplica, redis_replica
from tests.support.redis_server import RedisServer, running_redis
from tests.support.waiting import until
from tests.support.wire import exchange, request_bytes

LINE = documented_files(Path(__file__).parents[2] / "docs" / "least-privilege.md")["users.acl"].strip()
PASSWORD = f"redis-{secrets.token_hex(12)}"
_, USER, *PARTS = LINE.split()
NOW = 1_800_000_000.0
ADMINISTRATOR = "user default on nopass ~* &* +@all"


@pytest.fixture(scope="module")
def guarded() -> Iterator[RedisServer]:
    """A Redis whose ACL file has the documented line, with a real password, and the tests as administrator."""
    with running_redis(acl=[ADMINISTRATOR, LINE.replace("PASSWORD", PASSWORD)]) as server:
        yield server


def as_user(server: RedisServer) -> str:
    """The URL of the documented user."""
    return server.url_as(USER, PASSWORD)


async def walk(server: RedisServer) -> None:
    """Do everything that the broker does with Redis, once; fails where an answer is not the right one."""
    server.flush()
    server.run("SCRIPT", "FLUSH")
    async with redis_replica(as_user(server)) as ours:
        await _tokens(ours)
        await _leases(ours)
        await _purges(ours)
        await _idle_connections(ours)
    async with redis_replica(as_user(server), key_ring("k1", salt=7)) as stranger:
        # A record that does not open with the ring's key of that name is removed.
        assert (await stranger.cache.read(KEY)).token is None
    assert not [name for name in server.key_names() if b":token:" in name]


async def _tokens(ours: RedisReplica) -> None:
    token = token_of(minted_at=NOW)
    assert await ours.cache.store(token) is StoreOutcome.STORED
    assert (await ours.cache.read(KEY)).token == token
    assert await ours.cache.store(token) is not StoreOutcome.STORED
    await ours.cache.hold(REF, 60)
    assert 50 < (await ours.cache.read(KEY)).hold <= 60
    assert await ours.cache.claim_replacement(REF, 60)
    assert not await ours.cache.claim_replacement(REF, 60)
    await ours.cache.return_replacement(REF)
    assert await ours.cache.claim_replacement(REF, 60)


async def _leases(ours: RedisReplica) -> None:
    holder = await ours.lease.acquire(KEY)
    assert holder is not None
    assert await ours.lease.acquire(KEY) is None
    assert await ours.lease.renew(KEY, holder)
    await ours.lease.release(KEY, holder)
    assert await ours.lease.acquire(KEY) is not None


async def _purges(ours: RedisReplica) -> None:
    hearing = asyncio.ensure_future(anext(ours.cache.purges()))
    feed = ours.cache._feed
    await until(lambda: hearing.done() or feed._position is not None)
    assert await ours.cache.raise_epoch(REF, 4) == 5
    assert await hearing == Purge(REF, 5)
    assert await ours.cache.epochs([REF]) == [5]
    await ours.cache.restore_epoch(REF, 6)
    assert await ours.cache.epochs([REF]) == [6]
    after: AccessToken = token_of(minted_at=NOW, epoch=6)
    assert await ours.cache.store(after) is StoreOutcome.STORED


async def _idle_connections(ours: RedisReplica) -> None:
    idle = ours.client._redis.connection_pool._available_connections
    assert idle
    for connection in idle:
        connection.next_health_check = 0.0
    assert await ours.cache.epochs([REF]) == [6]


async def test_the_documented_user_may_do_all_that_the_broker_does(guarded: RedisServer) -> None:
    """As this user, tokens, holds, leases, purges, reports and checks of idle connections all work."""
    await walk(guarded)


@pytest.mark.parametrize("left_out", PARTS)
async def test_nothing_can_be_left_out(guarded: RedisServer, left_out: str) -> None:
    """Without any one part of the line, something that the broker does is refused."""
    parts = [part.replace("PASSWORD", PASSWORD) for part in PARTS if part != left_out]
    guarded.run("ACL", "DELUSER", USER)
    guarded.run("ACL", "SETUSER", USER, *parts)
    try:
        with pytest.raises((CacheUnavailableError, AssertionError)):
            await walk(guarded)
    finally:
        guarded.run("ACL", "LOAD")


@pytest.mark.parametrize(
    "command",
    ["FLUSHALL", "KEYS *", "SCAN 0", "CONFIG GET *", "ACL LIST", "PUBLISH itb:purges x", "GET other:key", "SELECT 1"],
)
def test_the_documented_user_may_do_nothing_else(guarded: RedisServer, command: str) -> None:
    """Commands that the broker does not use, and keys that are not its own, are refused."""
    with Redis.from_url(as_user(guarded)) as client:
        assert client.ping()
        with pytest.raises(NoPermissionError):
            client.execute_command(*command.split())


async def test_a_real_broker_works_as_the_documented_user(guarded: RedisServer, tmp_path: Path) -> None:
    """`serve` vends, takes a report and purges as this user, and none of its calls to Redis is refused."""
    keys = tmp_path / "cache-keys.json"
    keys.write_text(new_key_ring(secrets.token_bytes, "k1", "2026-01-01T00:00:00Z"))
    with sandbox_backend(tmp_path) as sandbox:
        broker = BrokerWithoutVault(tmp_path, sandbox, REDIS_URL=as_user(guarded), CACHE_KEYS_FILE=str(keys))
        tenant = broker.tenant()
        key = broker.policy.caller("all", {"orgs": ["*"], "actions": ["vend", "report", "purge", "status"]})
        broker.start()
        try:
            broker.replica.key, broker.replica.port = key, broker.port
            token = (await broker.replica.token(tenant.org)).json
            digest = secrets.token_hex(32)
            assert (await broker.replica.report(tenant.org, digest)).json["access_token"] == token["access_token"]
            assert (await broker.replica.purge(tenant.org)).status == 204
            assert (await broker.replica.token(tenant.org)).json["access_token"] != token["access_token"]
            orgs = await broker.replica.get(f"/orgs?{urlencode({'limit': 5})}")
            assert orgs.status == 200
            metrics = (await exchange(broker.port, request_bytes("GET", "/metrics"))).body.decode()
        finally:
            broker.replica.process.kill()
    calls = re.findall(r'dependency_calls_total\{dependency="redis",operation="(\w+)",outcome="(\w+)"\}', metrics)
    assert {operation for operation, _ in calls} >= {"read", "store", "acquire", "release", "raise_epoch", "announce"}
    assert {outcome for _, outcome in calls} == {"ok"}
