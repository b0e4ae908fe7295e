"""Row 57: a replica has no more file descriptors."""

from __future__ import annotations

import asyncio
import contextlib
import re
import resource
import sys

import pytest

from tests.support.fleet import Fleet
from tests.support.waiting import until_answered
from tests.support.wire import HOST, Connection, connected, request_bytes

ROOM = 12
"""Descriptors that the replica may still open."""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux changes the limits of another process")
async def test_a_replica_without_descriptors_recovers(fleet: Fleet) -> None:
    """Without descriptors an open connection is served; once others are closed, so are new ones, warm and cold."""
    [replica] = await asyncio.to_thread(fleet.start, 1)
    warm, cold = fleet.tenant(), fleet.tenant()
    assert (await replica.token(warm.org)).status == 200
    async with connected(replica.port) as kept:
        assert (await kept.request(replica.token_request(warm.org))).status == 200
        limit = await _opened(kept) + ROOM
        hard = resource.prlimit(replica.process.pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(replica.process.pid, resource.RLIMIT_NOFILE, (limit, hard))
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(4 * ROOM):
                _, writer = await asyncio.open_connection(HOST, replica.port)
                stack.callback(writer.close)
            await until_answered(lambda: _has_opened(kept, limit), 10)
            for _ in range(3):
                assert (await kept.request(replica.token_request(warm.org))).status == 200

    async def is_served() -> bool:
        try:
            replies = [await replica.token(tenant.org) for tenant in (warm, cold)]
        except (OSError, TimeoutError):
            return False
        return [reply.status for reply in replies] == [200, 200]

    await until_answered(is_served, 30)
    assert replica.process.alive


async def _has_opened(kept: Connection, count: int) -> bool:
    return await _opened(kept) >= count


async def _opened(kept: Connection) -> int:
    """How many descriptors the replica has, as it says itself: others may not look. It needs one more to count."""
    metrics = (await kept.request(request_bytes("GET", "/metrics"))).body
    found = re.search(rb"^\w*process_open_fds (\d+)", metrics, re.MULTILINE)
    return sys.maxsize if found is None else int(found[1])
