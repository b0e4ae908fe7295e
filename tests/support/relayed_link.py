"""A relay in front of a server: a link that can be cut, silent, slow or torn."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

_PIECE = 65_536


@dataclass
class LinkFaults:
    """What happens on the link now.

    Args:
        delay: Seconds by which each answer is late.
        tear_every: Each n-th piece of an answer is cut in the middle, and the connection is reset; 0 for none.
        byte_seconds: Seconds between two bytes of an answer; 0 to pass pieces whole.
        refuses: Whether connections are closed as soon as they are made.
        torn: How many pieces were torn.

    """

    delay: float = 0.0
    tear_every: int = 0
    byte_seconds: float = 0.0
    refuses: bool = False
    torn: int = 0
    _pieces: int = 0
    _clients: set[asyncio.StreamWriter] = field(default_factory=set)
    _intact: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._intact.set()

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """Let nothing pass while the context lasts.

        What was sent on open connections arrives afterwards, as TCP sends it again. New ones lead nowhere.
        """
        self.silence()
        try:
            yield
        finally:
            self._intact.set()

    def silence(self) -> None:
        """Let nothing pass until `heal`; as `cut`."""
        self._intact.clear()

    def sever(self) -> None:
        """Reset all connections, and close new ones at once until `heal`."""
        self.refuses = True
        for client in list(self._clients):
            client.transport.abort()

    def heal(self) -> None:
        """Let everything pass again, also what was held back."""
        self.delay, self.tear_every, self.byte_seconds, self.refuses = 0.0, 0, 0.0, False
        self._intact.set()

    @contextlib.contextmanager
    def carrying(self, client: asyncio.StreamWriter) -> Iterator[None]:
        """Count a connection among those that `sever` resets."""
        self._clients.add(client)
        try:
            yield
        finally:
            self._clients.discard(client)

    @property
    def is_cut(self) -> bool:
        """Whether nothing passes now."""
        return not self._intact.is_set()

    async def passes(self) -> None:
        """Wait while the link is cut."""
        await self._intact.wait()

    def is_torn(self) -> bool:
        """Whether the next piece is cut."""
        self._pieces += 1
        cut = self.tear_every > 0 and self._pieces % self.tear_every == 0
        self.torn += cut
        return cut


@contextlib.asynccontextmanager
async def relayed(port: int, faults: LinkFaults) -> AsyncIterator[int]:
    """The port of a relay to `port` of this machine."""
    carrying: set[asyncio.Task[None]] = set()

    async def carry(client: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with faults.carrying(writer), contextlib.suppress(asyncio.CancelledError):
            try:
                await _connected(client, writer, port, faults)
            finally:
                writer.close()

    def accepted(client: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(carry(client, writer))
        carrying.add(task)
        task.add_done_callback(carrying.discard)

    relay = await asyncio.start_server(accepted, "127.0.0.1", 0, backlog=2048)
    try:
        yield int(relay.sockets[0].getsockname()[1])
    finally:
        relay.close()
        ending = list(carrying)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)


async def _connected(client: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, faults: LinkFaults) -> None:
    if faults.refuses or faults.is_cut:
        await faults.passes()
        writer.transport.abort()
        return
    with contextlib.suppress(OSError):
        server, out = await asyncio.open_connection("127.0.0.1", port)
        asking = asyncio.create_task(_copied(client, out, faults))
        try:
            await _answered(server, writer, faults)
        finally:
            asking.cancel()
            out.close()


async def _copied(source: asyncio.StreamReader, target: asyncio.StreamWriter, faults: LinkFaults) -> None:
    with contextlib.suppress(OSError):
        while piece := await source.read(_PIECE):
            await faults.passes()
            target.write(piece)
            await target.drain()
    target.close()


async def _answered(source: asyncio.StreamReader, target: asyncio.StreamWriter, faults: LinkFaults) -> None:
    while piece := await source.read(_PIECE):
        await asyncio.sleep(faults.delay)
        await faults.passes()
        if faults.is_torn():
            target.write(piece[: len(piece) // 2])
            await target.drain()
            await asyncio.sleep(0.01)  # so that the half arrives before the reset
            target.transport.abort()
            return
        await _passed(piece, target, faults)


async def _passed(piece: bytes, target: asyncio.StreamWriter, faults: LinkFaults) -> None:
    sent = 0
    while sent < len(piece):
        count = 1 if faults.byte_seconds else len(piece) - sent
        target.write(piece[sent : sent + count])
        await target.drain()
        sent += count
        if faults.byte_seconds:
            await asyncio.sleep(faults.byte_seconds)
