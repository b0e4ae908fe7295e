"""The broker's app behind two servers: one answers at the connection, the other through ASGI alone."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field

from app.api.door import Door, reporter_of_malformed
from app.api.http_protocol import bounded_http_protocol
from app.api.warm_connection import warm_http_protocol
from app.domain.decision import Decision
from app.domain.events import CallerRefused, Event, RequestDecided
from app.main import Server, create_server, listening_socket
from tests.support.api_in_memory import ApiInMemory
from tests.support.wire import connected

SILENCE = 0.1
"""Seconds without a byte, after which nothing more is awaited."""

FIRST_SECONDS = 1.0
"""How long the first byte of an answer may take: a busy machine answers late."""


@dataclass
class TwoServers:
    """The same app, answered at the connection and through ASGI alone.

    Args:
        api: The app and its world. Time stands still.

    """

    api: ApiInMemory
    ports: dict[bool, int] = field(default_factory=dict)
    servers: dict[bool, Server] = field(default_factory=dict)

    async def exchange(self, at_connection: bool, *pieces: bytes) -> tuple[bytes, list[object]]:
        """All that comes back until the server closes or is silent, and the events of its requests and callers."""
        return await self._exchange(at_connection, pieces, pause=0.0)

    async def exchange_in_turns(self, at_connection: bool, *pieces: bytes) -> tuple[bytes, list[object]]:
        """The same, with each piece sent when the answer to the one before is here, so that each is a segment."""
        return await self._exchange(at_connection, pieces, pause=SILENCE / 3)

    async def _exchange(self, at_connection: bool, pieces: Iterable[bytes], pause: float) -> tuple[bytes, list[object]]:
        before = len(self.api.sink.all)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[at_connection])
        answer = b""
        for piece in pieces:
            writer.write(piece)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            await asyncio.sleep(0)
            if pause:
                answer += await _read(reader, pause, FIRST_SECONDS)
        answer += await _read(reader, SILENCE, SILENCE if answer else FIRST_SECONDS)
        if reader.at_eof():
            answer += b"<closed>"
        writer.close()
        return answer, list(_comparable(self.api.sink.all[before:]))


def _comparable(events: Iterable[Event]) -> Iterator[object]:
    """Those of requests without their ids, and those of refused callers."""
    for event in events:
        if isinstance(event, RequestDecided):
            decision = event.decision
            # A decision is equal only to itself. Later requests may share it, which only saves time.
            apart = {"__weakref__", "is_shared"}
            yield event.at, *(getattr(decision, name) for name in Decision.__slots__ if name not in apart)
        elif isinstance(event, CallerRefused):
            yield event


async def _read(reader: asyncio.StreamReader, silence: float, first: float) -> bytes:
    """What comes until the server closes or sends nothing for `silence` seconds, or for `first` at the beginning."""
    answer = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        while True:
            async with asyncio.timeout(silence if answer else first):
                data = await reader.read(1 << 20)
            if not data:
                break
            answer += data
    return answer


def without_what_differs(answer: bytes) -> bytes:
    """Without the date, and without request ids that the broker made."""
    answer = re.sub(rb"date: [^\r]+", b"date: now", answer)
    return re.sub(rb'(x-request-id: |"request_id":")[0-9a-f]{28}', rb"\1new", answer)


@contextlib.asynccontextmanager
async def two_servers(*warmed: bytes) -> AsyncIterator[TwoServers]:
    """Both servers, after these requests."""
    api = ApiInMemory()
    made = TwoServers(api)
    assert isinstance(api.app, Door)
    protocol = bounded_http_protocol(reporter_of_malformed(api.sink, api.clock))
    kinds = {True: warm_http_protocol(protocol, api.app.warm), False: protocol}
    async with contextlib.AsyncExitStack() as stack:
        tasks = []
        for at_connection, kind in kinds.items():
            sock = stack.enter_context(listening_socket("127.0.0.1", 0))
            made.ports[at_connection] = sock.getsockname()[1]
            server = made.servers[at_connection] = create_server(api.app, kind, linger=1.0)
            tasks.append(asyncio.create_task(server.serve(sockets=[sock])))
        for request in warmed:
            async with connected(made.ports[False]) as connection:
                assert (await connection.request(request)).status == 200
        yield made
        for server in made.servers.values():
            server.should_exit = True
        await asyncio.gather(*tasks)
