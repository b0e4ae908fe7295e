"""Purges and reports across replicas: a token withdrawn is gone everywhere, and a storm of 401s costs one mint."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter

from tests.support.crowd import at_once, spread
from tests.support.fleet import Fleet
from tests.support.tenants import Tenant
from tests.support.waiting import until
from tests.support.wire import exchange, request_bytes


async def test_a_purge_reaches_the_other_replicas_within_two_seconds(fleet: Fleet) -> None:
    """After a 204 the replica itself never serves the old token again, and the others do not after 2 s."""
    tenant = fleet.tenant()
    old = await _one_token(fleet, tenant)
    assert (await fleet.replicas[0].purge(tenant.org)).status == 204
    began = time.monotonic()
    assert (await fleet.replicas[0].token(tenant.org)).json["access_token"] != old
    await asyncio.sleep(max(0.0, began + 2 - time.monotonic()))
    assert old not in await _tokens(fleet, tenant)
    assert len(fleet.exchanges(tenant)) == 2


async def test_a_purge_of_a_token_that_no_one_holds_yet_is_not_lost(fleet: Fleet) -> None:
    """A purge while an exchange is under way lets no token through that was minted before it."""
    tenant = fleet.tenant()
    slow = fleet.sandbox.fault("latency", seconds=1.0, client_id=tenant.client_id, count=1)
    waiting = asyncio.create_task(fleet.replicas[0].token(tenant.org))
    await until(lambda: fleet.sandbox.hits(slow) > 0, 10)
    assert (await fleet.replicas[1].purge(tenant.org)).status == 204
    answer = await waiting
    assert answer.status == 200
    first, second = (entry["token_sha256"] for entry in fleet.exchanges(tenant))
    assert hashlib.sha256(answer.json["access_token"].encode()).hexdigest() == second != first
    assert await _tokens(fleet, tenant) == {answer.json["access_token"]}


async def test_a_storm_of_reports_costs_one_exchange(fleet: Fleet) -> None:
    """300 concurrent reports of one refused token over three replicas yield one new token, which Adobe takes."""
    tenant = fleet.tenant()
    old = await _one_token(fleet, tenant)
    digest = hashlib.sha256(old.encode()).hexdigest()
    fleet.sandbox.order("POST", "/sandbox/tokens/revoke", {"token_sha256": digest})
    assert await _status_at_adobe(fleet, tenant, old) == 401

    asked = [(replica, replica.report_request(tenant.org, digest)) for replica in spread(fleet.replicas, 300)]
    replies = await at_once(asked)
    assert Counter(reply.status for reply in replies) == {200: 300}
    assert len(fleet.exchanges(tenant)) == 2
    [new] = {reply.json["access_token"] for reply in replies}
    assert new != old
    assert await _status_at_adobe(fleet, tenant, new) == 200
    assert await _tokens(fleet, tenant) == {new}

    again = hashlib.sha256(new.encode()).hexdigest()
    replies = await at_once((replica, replica.report_request(tenant.org, again)) for replica in fleet.replicas * 20)
    assert {reply.json["access_token"] for reply in replies} == {new}, "replaced twice within a minute"
    assert len(fleet.exchanges(tenant)) == 2


async def test_a_storm_of_stale_reports_costs_nothing(fleet: Fleet) -> None:
    """Reports of a token that is not the present one get the present one, and cost no exchange."""
    tenant = fleet.tenant()
    current = await _one_token(fleet, tenant)
    replies = await at_once((replica, replica.report_request(tenant.org, "0" * 64)) for replica in fleet.replicas * 20)
    assert {reply.json["access_token"] for reply in replies} == {current}
    assert len(fleet.exchanges(tenant)) == 1


async def _one_token(fleet: Fleet, tenant: Tenant) -> str:
    """Warm all replicas; the one token that all of them have."""
    [token] = await _tokens(fleet, tenant)
    return token


async def _tokens(fleet: Fleet, tenant: Tenant) -> set[str]:
    """What the replicas answer now."""
    replies = [await replica.token(tenant.org) for replica in fleet.replicas]
    assert {reply.status for reply in replies} == {200}
    return {reply.json["access_token"] for reply in replies}


async def _status_at_adobe(fleet: Fleet, tenant: Tenant, token: str) -> int:
    """What Adobe's API says of a token."""
    headers = [
        (b"Authorization", f"Bearer {token}".encode()),
        (b"x-api-key", tenant.client_id.encode()),
        (b"x-gw-ims-org-id", tenant.org.encode()),
    ]
    return (await exchange(fleet.sandbox.port, request_bytes("GET", "/imp/journeys", headers))).status
