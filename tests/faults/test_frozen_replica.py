"""Row 19: a replica stands still in the middle of an exchange, for longer than its lease."""

from __future__ import annotations

import asyncio

from tests.support.fleet import Fleet
from tests.support.waiting import until


async def test_a_replica_that_stood_still_replaces_no_later_token(fleet: Fleet) -> None:
    """A replica that is frozen past its lease and thawed changes nothing: all replicas answer the later token."""
    frozen, other = fleet.start(2)
    tenant = fleet.tenant()
    slow = fleet.sandbox.fault("latency", seconds=1.5, client_id=tenant.client_id, count=1)
    asked = asyncio.create_task(frozen.token(tenant.org))
    await until(lambda: fleet.sandbox.hits(slow) > 0, 10)
    frozen.process.freeze()
    later = await other.token(tenant.org)
    assert later.status == 200
    frozen.process.thaw()
    # For the replica that stood still the exchange took longer than its deadline, but there is a token by now.
    first = await asked
    assert first.status == 200
    assert len(fleet.exchanges(tenant)) == 2
    [empty] = await asyncio.to_thread(fleet.start, 1)
    replies = [await replica.token(tenant.org) for replica in (frozen, empty)]
    assert [reply.json["access_token"] for reply in replies] == [later.json["access_token"]] * 2
    assert len(fleet.exchanges(tenant)) == 2
