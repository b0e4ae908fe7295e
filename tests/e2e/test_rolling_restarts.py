"""Replicas are replaced one after the other, while clients keep their connections open."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from pathlib import Path

import pytest

from app.api.http_connection import WRITE_SECONDS
from app.main import DRAIN_SECONDS
from tests.support.broker_without_vault import broker_without_vault
from tests.support.fleet import Fleet
from tests.support.keep_alive_client import KeepAliveClient
from tests.support.wire import HOST, request_bytes

RESTARTS = int(os.environ.get("RESTARTS", "6"))
"""How many restarts; `RESTARTS=100` for the whole claim."""

CLIENTS = 8


@pytest.mark.timeout(120 + 20 * RESTARTS)
async def test_rolling_restarts_fail_no_request(own_fleet: Fleet) -> None:
    """Clients with keep-alive connections to three replicas get nothing but 200 while each is replaced again and again.

    A replica that ends gets no new connections, as in Kubernetes; those that it has are in use until it closes them.
    """
    serving = own_fleet.start(3)
    tenant = own_fleet.tenant()
    for replica in serving:
        assert (await replica.token(tenant.org)).status == 200
    clients = [KeepAliveClient(lambda: [replica.port for replica in serving]) for _ in range(CLIENTS)]
    request = serving[0].token_request(tenant.org)
    asking = [asyncio.create_task(client.ask(request)) for client in clients]
    for _ in range(RESTARTS):
        [new] = await asyncio.to_thread(own_fleet.start, 1)
        assert (await new.token(tenant.org)).status == 200
        serving.append(new)
        old = serving.pop(0)
        old.process.terminate()
        assert await asyncio.to_thread(old.process.ended) == 0
        assert "Traceback" not in old.process.stderr.read_text()
    for task in asking:
        task.cancel()
    ends = await asyncio.gather(*asking, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends
    assert [failure for client in clients for failure in client.failures] == []
    assert sum(client.last_answers for client in clients) >= RESTARTS
    assert len(own_fleet.exchanges(tenant)) == 1
    print(f"{RESTARTS} restarts, {sum(client.answered for client in clients)} answers, 0 failures")


async def test_clients_that_do_not_read_do_not_hold_up_the_end(tmp_path: Path) -> None:
    """With answers that are not read, a process ends at SIGTERM when the deadline of writing is over."""
    with broker_without_vault(tmp_path, 0) as broker, socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect((HOST, broker.port))
        deaf.sendall(request_bytes("GET", "/openapi.json") * 60)
        assert (await broker.replica.get("/livez")).status == 200
        began = time.monotonic()
        broker.replica.process.terminate()
        assert await asyncio.to_thread(broker.replica.process.ended) == 0
        assert time.monotonic() - began < (WRITE_SECONDS + DRAIN_SECONDS) / 2
        assert "Traceback" not in broker.replica.process.stderr.read_text()
