"""Row 54: clients close their connections while the exchange that they wait for is under way."""

from __future__ import annotations

import asyncio

from tests.support.fleet import Fleet, outcomes
from tests.support.waiting import until
from tests.support.wire import HOST

CLIENTS = 200


async def test_an_exchange_without_clients_is_finished_and_kept(fleet: Fleet) -> None:
    """200 clients leave during an exchange: it is made once, and its token serves the next request, on any replica."""
    replicas, tenant = fleet.start(2), fleet.tenant()
    slow = fleet.sandbox.fault("latency", seconds=2.0, client_id=tenant.client_id)
    writers = []
    for number in range(CLIENTS):
        _, writer = await asyncio.open_connection(HOST, replicas[number % 2].port)
        writer.write(replicas[0].token_request(tenant.org))
        await writer.drain()
        writers.append(writer)
    await until(lambda: fleet.sandbox.hits(slow) > 0, 10)
    for writer in writers:
        writer.transport.abort()
    replies = [await replica.token(tenant.org) for replica in replicas]
    assert [reply.status for reply in replies] == [200, 200]
    assert len({reply.json["access_token"] for reply in replies}) == 1
    assert outcomes(fleet.exchanges(tenant)) == ["issued"]
    assert "Traceback" not in "".join(replica.process.stderr.read_text() for replica in replicas)
