"""Row 10: Redis has a record from a backup."""

from __future__ import annotations

import asyncio
import time

from tests.support.fleet import Fleet
from tests.support.tenants import true_expiry
from tests.support.waiting import until_answered


async def test_a_restored_record_does_not_outlive_its_token(fleet: Fleet) -> None:
    """A record that is restored without an end in Redis is not served after the end of its token."""
    [writer], tenant = fleet.start(1, KEEP_WARM="0s"), fleet.tenant(token_lifetime=6.0)
    old = (await writer.token(tenant.org)).json["access_token"]
    server = fleet.redis.server
    [name] = [name for name in server.key_names() if tenant.org.encode() in name and b":token:" in name]
    backup = server.run("DUMP", name)
    await asyncio.sleep(max(0.0, true_expiry(old) - time.time()))
    server.run("RESTORE", name, 0, backup, "REPLACE")
    [empty] = await asyncio.to_thread(fleet.start, 1)
    # While IMS fails, a replica would serve any token that has some life left.
    fleet.sandbox.fault("status", status=503, client_id=tenant.client_id)
    for replica in (empty, writer):
        reply = await replica.token(tenant.org)
        assert (reply.status, reply.json["code"]) == (503, "ims_unavailable")
    fleet.sandbox.clear_faults()

    async def is_served() -> bool:
        replies = [await replica.token(tenant.org) for replica in (empty, writer)]
        tokens = {reply.json["access_token"] for reply in replies if reply.status == 200}
        assert old not in tokens
        return {reply.status for reply in replies} == {200}

    await until_answered(is_served, 15)
