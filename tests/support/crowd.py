"""Many callers at the same moment: connections opened first, requests released together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence

from tests.support.replica import BrokerProcess
from tests.support.wire import Connection, Reply, connected

_OPENING = 100
"""How many connections are opened at once, so that the accept queues of the replicas are no part of the test."""


async def at_once(requests: Iterable[tuple[BrokerProcess, bytes]]) -> list[Reply]:
    """Send each request on a connection of its own, all of them at once, and wait for all answers."""
    wanted = list(requests)
    async with contextlib.AsyncExitStack() as stack:
        opening = asyncio.Semaphore(_OPENING)

        async def opened(replica: BrokerProcess) -> Connection:
            async with opening:
                return await stack.enter_async_context(connected(replica.port))

        connections = await asyncio.gather(*(opened(replica) for replica, _ in wanted))
        barrier = asyncio.Event()

        async def ask(connection: Connection, data: bytes) -> Reply:
            await barrier.wait()
            return await connection.request(data)

        asked = [
            asyncio.create_task(ask(*pair)) for pair in zip(connections, (data for _, data in wanted), strict=True)
        ]
        barrier.set()
        return list(await asyncio.gather(*asked))


def spread(replicas: Sequence[BrokerProcess], number: int) -> list[BrokerProcess]:
    """`number` replicas, taken in turn."""
    return [replicas[index % len(replicas)] for index in range(number)]
