"""The broker's HTTP server in front of an app that only notes what it is given, without a process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from app.api.first_end import note_decided, state_of
from app.api.http_connection import WRITE_SECONDS
from app.api.http_protocol import HEAD_SECONDS, bounded_http_protocol
from app.main import Server, create_server, listening_socket
from tests.support.waiting import until

HOST = b"Host: broker.test\r\n"


@dataclass
class EchoServer:
    """A server whose app answers with the names of the headers it was given."""

    port: int = 0
    answer: str = "seen"
    server: Server = field(init=False)
    seen: list[list[bytes]] = field(default_factory=list)
    values: list[dict[bytes, bytes]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared, the app holds its answers back."""
    reads_bodies: bool = True
    """Whether the app reads the body before it answers, which no GET of the product does."""

    def __post_init__(self) -> None:
        self.answers.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note the names, read the body, answer."""
        self.seen.append([name for name, _ in scope["headers"]])
        self.values.append(dict(scope["headers"]))
        body, more = b"", self.reads_bodies
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.bodies.append(body)
        await self.answers.wait()
        note_decided(state_of(scope))
        await PlainTextResponse(self.answer)(scope, receive, send)

    def keep_alive(self, seconds: int | float) -> None:
        """Close idle connections after this many seconds, starting with the next one."""
        self.server.config.timeout_keep_alive = seconds  # type: ignore[assignment]  # it accepts fractions as well

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self.server.server_state.connections)

    async def end(self) -> None:
        """Begin to end, and wait until it takes no more connections."""
        self.server.should_exit = True
        await until(lambda: not self.server.servers[0].is_serving())

    async def exchange(self, *pieces: bytes, seconds: float = 5.0) -> bytes:
        """Send the pieces separately, and read until the server closes the connection or stops sending."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        answer = b""
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            async with asyncio.timeout(seconds):
                while data := await reader.read(65536):
                    answer += data
        except (ConnectionError, TimeoutError):
            pass
        finally:
            writer.close()
        return answer


@contextlib.asynccontextmanager
async def echo_server(
    *,
    head_seconds: float = HEAD_SECONDS,
    write_seconds: float = WRITE_SECONDS,
    linger: float = 0.0,
    small_buffers: bool = False,
) -> AsyncIterator[EchoServer]:
    """A running one.

    Args:
        head_seconds: See `bounded_http_protocol`.
        write_seconds: See `bounded_http_protocol`.
        linger: See `create_server`.
        small_buffers: Whether the kernel takes only a few KiB of an answer.

    """
    made = EchoServer()
    with listening_socket("127.0.0.1", 0) as sock:
        if small_buffers:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        made.port = sock.getsockname()[1]
        protocol = bounded_http_protocol(made.refused.append, head_seconds, write_seconds)
        made.server = create_server(made, protocol, linger=linger)
        task = asyncio.create_task(made.server.serve(sockets=[sock]))
        yield made
        made.server.should_exit = True
        await task
