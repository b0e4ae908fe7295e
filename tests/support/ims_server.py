"""IMS for tests, on a loopback port: the real sandbox under uvicorn, and a raw server that runs a script."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field

import uvicorn

from app.sandbox import Sandbox, SandboxClient, create_sandbox


@dataclass(frozen=True)
class RunningSandbox:
    """A sandbox that can be reached."""

    base_url: str
    sandbox: Sandbox


class _QuietServer(uvicorn.Server):
    """Leaves the signals to the test run."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def, explicit-override]  # nothing is yielded
        yield


@contextlib.asynccontextmanager
async def run_sandbox(
    clients: Iterable[SandboxClient] = (),
    *,
    token_lifetime: float = 86399.0,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[RunningSandbox]:
    """Run a sandbox on a free port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    sandbox = create_sandbox(clients, base_url=base_url, token_lifetime=token_lifetime, clock=clock)
    async with serve(sandbox, listener):
        yield RunningSandbox(base_url, sandbox)


@contextlib.asynccontextmanager
async def serve(app: object, listener: socket.socket) -> AsyncIterator[None]:
    """Run an ASGI app under uvicorn on an open socket."""
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]  # any ASGI app
        log_level="critical",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
        backlog=2048,
    )
    server = _QuietServer(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with asyncio.timeout(10):
            while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
                await asyncio.sleep(0.002)
        yield
    finally:
        server.should_exit = True
        await asyncio.wait_for(task, 10)
        listener.close()


@dataclass
class AcceptedConnection:
    """One accepted connection of a `RawServer`."""

    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    seen: list[bytes]

    async def request(self) -> bytes:
        """Read one whole request; empty if the client has disconnected."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
        length = next((int(row[15:]) for row in head.lower().split(b"\r\n") if row.startswith(b"content-length:")), 0)
        self.seen.append(head + await self.reader.readexactly(length))
        return self.seen[-1]

    async def send(self, data: bytes) -> None:
        """Send these bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def gone(self) -> None:
        """Wait until the client closes."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass

    def reset(self) -> None:
        """Close with a TCP reset."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.writer.close()


Script = Callable[[AcceptedConnection], Awaitable[None]]


@dataclass
class RawServer:
    """A TCP server that runs a script for each connection and then closes it.

    Args:
        base_url: Its base URL.
        requests: All requests that scripts have read.
        accepted: The number of accepted connections.
        open: The number of open connections.

    """

    base_url: str
    requests: list[bytes] = field(default_factory=list)
    accepted: int = 0
    open: int = 0


@contextlib.asynccontextmanager
async def run_raw(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    """Run a raw server on a free port, with TLS if a context is given."""
    tasks: set[asyncio.Task[None]] = set()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        running.accepted += 1
        running.open += 1
        try:
            await script(AcceptedConnection(running.accepted, reader, writer, running.requests))
        except (ConnectionError, asyncio.CancelledError, asyncio.IncompleteReadError):
            pass
        finally:
            running.open -= 1
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", 0, ssl=tls)
    running = RawServer(f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        yield running
    finally:
        server.close()
        pending = list(tasks)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


def http_answer(body: bytes = b"", *, status: str = "200 OK", headers: Iterable[str] = (), json: bool = True) -> bytes:
    """A whole HTTP/1.1 answer as bytes."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    if json:
        lines.append("Content-Type: application/json")
    return "\r\n".join([*lines, "", ""]).encode() + body


def answering(data: bytes) -> Script:
    """A script that answers every request of a connection with `data`."""

    async def script(line: AcceptedConnection) -> None:
        while await line.request():
            await line.send(data)

    return script
