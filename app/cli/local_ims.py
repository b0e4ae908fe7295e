"""Runs a sandbox at a socket, for ``dev`` and ``sandbox``."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.cli.failure import USAGE, CommandError
from app.main import Server, create_server, listening_socket
from app.sandbox import Sandbox

LAST_REQUESTS_SECONDS = 1
"""How long in-flight requests may take at shutdown, because an injected fault may hang one forever."""


def free_socket(host: str, port: int, remedy: str = "") -> socket.socket:
    """A socket that listens at `host` and `port`; 0 takes a free one.

    Args:
        host: Where to listen.
        port: Where to listen.
        remedy: A sentence for the error.

    Raises:
        CommandError: The address is unavailable.

    """
    try:
        return listening_socket(host, port)
    except (OSError, UnicodeError) as error:
        reason = (getattr(error, "strerror", None) or "not an address of this machine").lower()
        raise CommandError(f"Cannot listen on {host} port {port}: {reason}.{remedy}", USAGE) from None


@asynccontextmanager
async def served(sandbox: Sandbox, sock: socket.socket) -> AsyncIterator[Server]:
    """Serve `sandbox` at `sock` for as long as the context lasts; the caller closes the socket."""
    server = create_server(sandbox)
    server.config.timeout_graceful_shutdown = LAST_REQUESTS_SECONDS
    task = asyncio.create_task(server.serve(sockets=[sock]), name="sandbox")
    try:
        yield server
    finally:
        server.should_exit = True
        await task
