"""Row 55: Redis, Vault and IMS are down when a replica starts."""

from __future__ import annotations

import asyncio

from tests.support.fleet import Fleet
from tests.support.waiting import until_answered


async def test_a_replica_starts_with_everything_down(fleet: Fleet) -> None:
    """It is alive and ready, answers 503 with Retry-After, and serves without a restart once all are there."""
    tenant = fleet.tenant()
    fleet.redis.server.kill()
    fleet.sandbox.process.kill()
    fleet.vault.seal()
    try:
        [replica] = await asyncio.to_thread(fleet.start, 1)
        assert [(await replica.get(path)).status for path in ("/livez", "/readyz")] == [200, 200]
        reply = await replica.token(tenant.org)
        assert (reply.status, reply.json["code"]) == (503, "vault_unavailable")
        assert int(reply.header("Retry-After") or 0) >= 1
    finally:
        fleet.vault.unseal()
        await asyncio.to_thread(fleet.sandbox.start)
        await asyncio.to_thread(fleet.redis.server.start)

    async def is_served() -> bool:
        return (await replica.token(tenant.org)).status == 200

    await until_answered(is_served, 30)
    assert replica.process.alive
