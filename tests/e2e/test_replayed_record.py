"""An older sealed token is put back into Redis after its credential was rotated; see also `test_key_ring`."""

from __future__ import annotations

import hashlib

from tests.support.fleet import Fleet
from tests.support.redis_intruder import RedisIntruder
from tests.support.replica import BrokerProcess
from tests.support.tenants import Tenant, new_secret
from tests.support.waiting import until_answered


async def tokens_of(replicas: list[BrokerProcess], tenant: Tenant) -> set[str]:
    """What the replicas answer now."""
    replies = [await replica.token(tenant.org) for replica in replicas]
    assert {reply.status for reply in replies} == {200}
    return {reply.json["access_token"] for reply in replies}


def rotate(fleet: Fleet, tenant: Tenant) -> None:
    """Give a tenant another secret, in Vault and at Adobe."""
    rotated = tenant.changed(client_secrets=(new_secret(),))
    fleet.register(rotated)
    fleet.store(rotated)


async def test_a_replayed_token_replaces_no_newer_one_and_a_purge_ends_it(own_fleet: Fleet) -> None:
    """Where a newer token is known, the old one is not taken. After a purge, no replica ever answers it again."""
    tenant, replicas = own_fleet.tenant(), own_fleet.start(2)
    [old] = await tokens_of(replicas, tenant)
    intruder = RedisIntruder(own_fleet, tenant)
    rotate(own_fleet, tenant)
    digest = hashlib.sha256(old.encode()).hexdigest()
    assert (await replicas[0].report(tenant.org, digest)).json["access_token"] != old
    assert (await replicas[1].report(tenant.org, digest)).json["access_token"] != old
    [new] = await tokens_of(replicas, tenant)
    assert len(own_fleet.exchanges(tenant)) == 2
    intruder.replay()
    assert await tokens_of(replicas, tenant) == {new}
    # It is genuine and valid at Adobe, so a replica that knows nothing takes it.
    [late] = own_fleet.start(1)
    assert await tokens_of([late], tenant) == {old}
    assert (await late.purge(tenant.org)).status == 204

    async def is_everywhere() -> bool:
        return not await tokens_of(own_fleet.replicas, tenant) & {old, new}

    await until_answered(is_everywhere, 2)
    intruder.replay()
    [latest] = own_fleet.start(1)
    found = await tokens_of([latest, *own_fleet.replicas], tenant)
    assert not found & {old, new}
