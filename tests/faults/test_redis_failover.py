"""Row 5: Redis fails over to a replica that lacks the last writes."""

from __future__ import annotations

import asyncio

from tests.support.children import wait_until
from tests.support.fleet import Fleet
from tests.support.redis_server import RedisServer
from tests.support.tenants import Tenant
from tests.support.traffic import traffic
from tests.support.waiting import until_answered
from tests.support.wire import Reply

RATE = 40.0


async def test_a_failover_that_loses_writes_fails_no_request(fleet: Fleet, own_redis: RedisServer) -> None:
    """Tokens, epochs and the stream of purges of the last second are lost: nothing but 200, and no purged token."""
    replicas = await asyncio.to_thread(fleet.start, 3)
    kept, purged, unknown = fleet.tenant(), fleet.tenant(), fleet.tenant()
    old = {_token(reply) for tenant in (kept, purged) for reply in await _asked(fleet, tenant)}
    assert len(old) == 2
    await asyncio.to_thread(_copied, fleet.redis.server, own_redis)

    async def ask(number: int) -> Reply:
        return await replicas[number % 3].token((kept, purged, unknown)[number % 5 % 3].org)

    async with traffic(ask, RATE) as seen:
        # The copy has nothing of what follows: a purge, the token after it, and the first token of a tenant.
        assert (await replicas[0].purge(purged.org)).status == 204
        await asyncio.sleep(1.0)
        purged_tokens = {_token(reply) for reply in await _asked(fleet, purged)}
        assert not purged_tokens & old
        await asyncio.to_thread(_fails_over, fleet.redis.server, own_redis)
        await asyncio.sleep(3.0)
        late = {_token(reply) for reply in await _asked(fleet, purged)}
    assert seen.failures() == []
    assert not late & old
    assert len(fleet.exchanges(kept)) == 1
    assert max(len(fleet.exchanges(tenant)) for tenant in (purged, unknown)) <= 2 * len(replicas)

    async def is_written_back() -> bool:
        # A replica with an empty memory asks Redis alone, which has the old token of the purged tenant.
        names = [name for name in own_redis.key_names() if purged.org.encode() in name and name.endswith(b":epoch")]
        return len(names) == 1 and int(own_redis.run("GET", names[0])) > 0

    await until_answered(is_written_back, 15)
    [empty] = await asyncio.to_thread(fleet.start, 1)
    assert _token(await empty.token(purged.org)) not in old


async def _asked(fleet: Fleet, tenant: Tenant) -> list[Reply]:
    return [await replica.token(tenant.org) for replica in fleet.replicas]


def _token(reply: Reply) -> str:
    assert reply.status == 200, reply.body
    return str(reply.json["access_token"])


def _copied(primary: RedisServer, replica: RedisServer) -> None:
    """Copy everything, users included, and then nothing any more."""
    for user in primary.run("ACL", "LIST"):
        _, name, *rules = user.split(b" ")
        replica.run("ACL", "SETUSER", name, "reset", *rules)
    replica.run("REPLICAOF", "127.0.0.1", primary.port)
    wait_until(
        lambda: replica.run("INFO", "replication")["master_link_status"] == "up",
        "The replica has not copied everything",
    )
    replica.run("REPLICAOF", "NO", "ONE")


def _fails_over(primary: RedisServer, replica: RedisServer) -> None:
    """The primary dies, and the replica takes its address."""
    primary.kill()
    replica.run("CONFIG", "SET", "port", primary.port)
    replica.port = primary.port
