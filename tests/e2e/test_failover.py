"""Promises 1 to 3 when things die: replicas, Redis, Vault, IMS. No caller waits longer than 15 s for an answer."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.backends import redis_backend, sandbox_backend
from tests.support.crowd import at_once, spread
from tests.support.fleet import Backends, Fleet, outcomes, running_fleet
from tests.support.tenants import Tenant
from tests.support.vault_server import VaultServer
from tests.support.waiting import until, until_answered
from tests.support.wire import Reply


@pytest.fixture(scope="module")
def mortal_backends(vault_server: VaultServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backends]:
    """A Redis and a sandbox that these tests kill and start again."""
    with redis_backend() as redis, sandbox_backend(tmp_path_factory.mktemp("mortal-sandbox")) as sandbox:
        yield Backends(redis, vault_server, sandbox)


@pytest.fixture(scope="module")
def mortal_fleet(mortal_backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Three replicas over them."""
    with running_fleet(mortal_backends, tmp_path_factory.mktemp("mortal"), 3) as running:
        yield running


async def test_a_killed_lease_holder_costs_the_others_one_more_exchange(own_fleet: Fleet) -> None:
    """Kill -9 of the replica that exchanges: everyone on the other replicas gets a 200 in 15 s, for 2 exchanges."""
    holder, *others = own_fleet.start(3)
    tenant = own_fleet.tenant(kind="jwt")
    slow = own_fleet.sandbox.fault("latency", seconds=3.0, client_id=tenant.client_id)
    first = asyncio.create_task(holder.token(tenant.org))
    await _struck(own_fleet, slow)
    crowd = asyncio.create_task(
        at_once((replica, replica.token_request(tenant.org)) for replica in spread(others, 200))
    )
    await asyncio.sleep(0.5)
    holder.process.kill()
    replies = await crowd
    assert Counter(reply.status for reply in replies) == {200: 200}
    assert max(reply.seconds for reply in replies) < 15
    assert own_fleet.sandbox.hits(slow) <= 2
    with pytest.raises(ConnectionError):
        await first


async def test_a_second_signal_tears_nothing(own_fleet: Fleet) -> None:
    """While a refresh finishes during shutdown, another SIGTERM and a Ctrl-C change nothing: exit code 0."""
    [replica] = own_fleet.start(1)
    tenant = own_fleet.tenant(token_lifetime=20.0)
    first = (await replica.token(tenant.org)).json["access_token"]
    slow = own_fleet.sandbox.fault("latency", seconds=2.5, client_id=tenant.client_id)

    async def refreshes() -> bool:
        assert (await replica.token(tenant.org)).json["access_token"] == first
        return own_fleet.sandbox.hits(slow) > 0

    await until_answered(refreshes, 15)
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        replica.process.send(number)
        await asyncio.sleep(0.3)
    assert await asyncio.to_thread(replica.process.ended, 10) == 0
    [successor] = own_fleet.start(1)
    assert (await successor.token(tenant.org)).json["access_token"] != first
    assert outcomes(own_fleet.exchanges(tenant)) == ["issued", "issued"]


async def test_sigterm_during_an_exchange_finishes_the_request(own_fleet: Fleet) -> None:
    """At SIGTERM the waiting request still gets its 200, the audit log its line, and the process ends with 0."""
    [replica] = own_fleet.start(1)
    tenant = own_fleet.tenant()
    slow = own_fleet.sandbox.fault("latency", seconds=2.0, client_id=tenant.client_id)
    waiting = asyncio.create_task(replica.token(tenant.org))
    await _struck(own_fleet, slow)
    replica.process.terminate()
    reply = await waiting
    assert reply.status == 200
    assert await asyncio.to_thread(replica.process.ended, 10) == 0
    lines = [line for line in replica.audit_lines() if line.get("request_id") == reply.header("X-Request-Id")]
    assert [line["outcome"] for line in lines] == ["vended"]
    # What it minted is there for the others, and its lease is not.
    [successor] = own_fleet.start(1)
    assert (await successor.token(tenant.org)).json["access_token"] == reply.json["access_token"]
    assert not [key for key in own_fleet.redis.server.key_names() if b"lease" in key and tenant.org.encode() in key]


async def test_sigterm_does_not_wait_for_idle_connections(own_fleet: Fleet) -> None:
    """A replica with nothing to do ends within 2 s of SIGTERM, although a client keeps its connection open."""
    [replica] = own_fleet.start(1)
    tenant = own_fleet.tenant()
    _, writer = await asyncio.open_connection("127.0.0.1", replica.port)
    try:
        assert (await replica.token(tenant.org)).status == 200
        replica.process.terminate()
        assert await asyncio.to_thread(replica.process.ended, 2) == 0
    finally:
        writer.close()


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_redis_gone_costs_no_error_and_one_exchange_per_tenant_and_replica(mortal_fleet: Fleet, how: str) -> None:
    """With Redis killed or frozen, warm and cold tenants get 200s within the deadline, for one exchange per replica."""
    fleet = mortal_fleet
    warm, cold = fleet.tenant(), [fleet.tenant() for _ in range(10)]
    [old] = await _tokens(fleet, warm)
    async with _without_redis(fleet, how):
        replies = await at_once(
            (replica, replica.token_request(tenant.org))
            for tenant in (warm, *cold)
            for replica in spread(fleet.replicas, 30)
        )
        assert Counter(reply.status for reply in replies) == {200: 330}
        assert max(reply.seconds for reply in replies) < 5
        assert [len(fleet.exchanges(tenant)) for tenant in cold] == [3] * 10
        assert len(fleet.exchanges(warm)) == 1
        assert {(await replica.get("/readyz")).status for replica in fleet.replicas} == {200}
        # A purge takes effect here and now, and elsewhere once Redis is back.
        assert (await fleet.replicas[0].purge(warm.org)).status == 204
        assert (await fleet.replicas[0].token(warm.org)).status == 200
    await _reconnected(fleet)

    async def is_gone() -> bool:
        return old not in await _tokens(fleet, warm)

    await until_answered(is_gone, 10)


async def _tokens(fleet: Fleet, tenant: Tenant) -> set[str]:
    """What the replicas answer now."""
    replies = [await replica.token(tenant.org) for replica in fleet.replicas]
    assert {reply.status for reply in replies} == {200}
    return {reply.json["access_token"] for reply in replies}


async def _reconnected(fleet: Fleet) -> None:
    """Wait until the replicas share again: they answer the same token for a new tenant."""

    async def share() -> bool:
        return len(await _tokens(fleet, fleet.tenant())) == 1

    await until_answered(share, 15)


@contextlib.asynccontextmanager
async def _without_redis(fleet: Fleet, how: str) -> AsyncIterator[None]:
    server = fleet.redis.server
    if how == "frozen":
        server.freeze()
    else:
        server.kill()
    try:
        yield
    finally:
        if how == "frozen":
            server.thaw()
        else:
            server.start()


async def test_vault_and_ims_down_leave_warm_tenants_unaffected(mortal_fleet: Fleet) -> None:
    """With Vault sealed and IMS dead, warm tenants and an empty new replica answer 200, cold tenants a clear 503."""
    fleet = mortal_fleet
    warm, cold, uncached = fleet.tenant(kind="jwt"), fleet.tenant(), fleet.tenant()
    assert {(await replica.token(warm.org)).status for replica in fleet.replicas[:2]} == {200}
    fleet.sandbox.process.kill()
    try:
        reply = await fleet.replicas[0].token(cold.org)
        _is_unavailable(reply, "ims_unavailable")
        fleet.vault.seal()
        _is_unavailable(await fleet.replicas[0].token(uncached.org), "vault_unavailable")
        # Replica 2 has never seen the tenant; the new one has never seen anything, not even Vault.
        [empty] = fleet.start(1)
        served = [await replica.token(warm.org) for replica in (*fleet.replicas[:3], empty)]
        assert {reply.status for reply in served} == {200}
        assert len({reply.json["access_token"] for reply in served}) == 1
        oauth2 = await fleet.replicas[0].oauth2(uncached.org, "tester")
        assert (oauth2.status, oauth2.json["error"]) == (503, "temporarily_unavailable")
        assert int(oauth2.header("Retry-After") or 0) >= 1
        assert {(await replica.get("/readyz")).status for replica in fleet.replicas} == {200}
        assert {(await replica.get("/livez")).status for replica in fleet.replicas} == {200}
    finally:
        fleet.vault.unseal()
        fleet.sandbox.start()

    async def is_served() -> bool:
        return {(await replica.token(cold.org)).status for replica in fleet.replicas} == {200}

    await until_answered(is_served, 40)


@pytest.mark.parametrize("frozen", ["sandbox", "both"])
async def test_with_ims_frozen_no_caller_waits_longer_than_15_seconds(mortal_fleet: Fleet, frozen: str) -> None:
    """With an IMS (and a Redis) that takes connections and never answers, warm is quick, cold gets an error in time."""
    fleet = mortal_fleet
    replicas = fleet.replicas[:3]
    warm, cold = fleet.tenant(), [fleet.tenant() for _ in range(8)]
    assert {(await replica.token(warm.org)).status for replica in replicas} == {200}
    fleet.sandbox.process.freeze()
    if frozen == "both":
        fleet.redis.server.freeze()
    try:
        asked = [(replica, replica.token_request(tenant.org)) for tenant in cold for replica in replicas]
        waiting = asyncio.create_task(at_once(asked))
        quick = [await replica.token(warm.org) for replica in replicas]
        replies = await waiting
    finally:
        fleet.sandbox.process.thaw()
        fleet.redis.server.thaw()
    assert {reply.status for reply in quick} == {200}
    assert max(reply.seconds for reply in quick) < 1
    for reply in replies:
        _is_unavailable(reply, "ims_unavailable")
    await _reconnected(fleet)  # The next test needs replicas that share what IMS answers.


async def test_with_vault_frozen_no_caller_waits_longer_than_15_seconds(own_fleet: Fleet) -> None:
    """With a Vault that takes connections and never answers, warm is served from Redis, cold fails in time."""
    warm, cold = own_fleet.tenant(), [own_fleet.tenant() for _ in range(40)]
    [healthy] = own_fleet.start(1)
    assert (await healthy.token(warm.org)).status == 200
    with socket.create_server(("127.0.0.1", 0)) as silent:
        [replica] = own_fleet.start(1, VAULT_ADDR=f"http://127.0.0.1:{silent.getsockname()[1]}")
        waiting = asyncio.create_task(at_once((replica, replica.token_request(tenant.org)) for tenant in cold))
        quick = await replica.token(warm.org)
        for reply in await waiting:
            _is_unavailable(reply, "vault_unavailable")
        assert quick.status == 200
        assert quick.seconds < 1


async def test_a_retry_after_from_ims_binds_all_replicas(mortal_fleet: Fleet) -> None:
    """After an IMS 429 no replica exchanges for that credential until its Retry-After is over; others go on."""
    fleet = mortal_fleet
    replicas = fleet.replicas[:3]
    tenant, other = fleet.tenant(), fleet.tenant()
    fleet.sandbox.fault("status", status=429, retry_after="4", client_id=tenant.client_id, count=1)
    first = await replicas[0].token(tenant.org)
    told_at = time.monotonic()
    _is_unavailable(first, "ims_unavailable")
    assert int(first.header("Retry-After") or 0) == 4
    asked = [(replica, replica.token_request(tenant.org)) for replica in spread(replicas, 60)]
    for reply in await at_once(asked):
        _is_unavailable(reply, "ims_unavailable")
        assert 1 <= int(reply.header("Retry-After") or 0) <= 4
    assert len(fleet.exchanges(tenant)) == 1
    assert {(await replica.token(other.org)).status for replica in replicas} == {200}
    await asyncio.sleep(max(0.0, told_at + 4.2 - time.monotonic()))
    assert {(await replica.token(tenant.org)).status for replica in replicas} == {200}
    assert outcomes(fleet.exchanges(tenant)) == ["status", "issued"]


def _is_unavailable(reply: Reply, code: str) -> None:
    assert (reply.status, reply.json["code"]) == (503, code), reply.body
    assert reply.json["retryable"] is True
    assert 1 <= int(reply.header("Retry-After") or 0) <= 3600
    assert reply.seconds <= 15


async def _struck(fleet: Fleet, fault_id: int) -> None:
    """Wait until a fault order has struck an exchange, which now waits."""
    await until(lambda: fleet.sandbox.hits(fault_id) > 0, 10)
