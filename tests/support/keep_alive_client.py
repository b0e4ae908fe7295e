"""A client that keeps its connections open, as one behind a Kubernetes Service does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from tests.support.wire import Connection, Reply, connected

Endpoints = Callable[[], Sequence[int]]
"""The ports that take new connections now."""


@dataclass
class KeepAliveClient:
    """Asks again and again, on a few connections in turn. It opens new ones to current endpoints only.

    Args:
        endpoints: Where new connections go, in turn.
        connections: Number of connections to keep open.
        pause: Seconds between its requests.

    """

    endpoints: Endpoints
    connections: int = 3
    pause: float = 0.005
    answered: int = 0
    failures: list[str] = field(default_factory=list)
    last_answers: int = 0
    """Answers after which the server closed the connection, as it had said."""

    async def ask(self, request: bytes) -> None:
        """Send `request` until it is cancelled."""
        kept: list[Connection] = []
        opened = 0
        async with AsyncExitStack() as stack:
            while True:
                # A client looks whether its connection was closed while it was idle, and then takes another.
                kept = [connection for connection in kept if not connection.ended]
                while len(kept) < self.connections:
                    ports = self.endpoints()
                    opened += 1
                    kept.append(await stack.enter_async_context(connected(ports[opened % len(ports)])))
                connection = kept.pop(0)
                with contextlib.suppress(ConnectionError, TimeoutError):
                    if self._counts(await connection.request(request)):
                        kept.append(connection)
                    await asyncio.sleep(self.pause)
                    continue
                self.failures.append("no answer")

    def _counts(self, reply: Reply) -> bool:
        """Count an answer; whether its connection stays open."""
        if reply.status == 200:
            self.answered += 1
        else:
            self.failures.append(str(reply.status))
        ends = reply.header("connection") == "close"
        self.last_answers += ends
        return not ends
