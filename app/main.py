"""Runs the broker: serves the app at a socket, from start to clean shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import signal
import socket
import ssl
from collections.abc import Callable, Iterator

import uvicorn
from starlette.types import ASGIApp
from typing_extensions import override

from app.api.app import Services, create_api
from app.api.door import Door, reporter_of_malformed
from app.api.health import Readiness
from app.api.http_protocol import BoundedHttpProtocol, bounded_http_protocol
from app.api.limits import Limits
from app.bootstrap.broker import IN_FLIGHT_SECONDS, Broker, assembled
from app.settings.settings import Settings

DRAIN_SECONDS = 16
"""Slightly more than a request may take, so that no request is cut off when the process ends."""

HANDSHAKE_SECONDS = 10.0
"""From the connection to the end of the TLS handshake; then `app.api.http_protocol.HEAD_SECONDS` begin."""

TLS_CLOSE_SECONDS = 2.0
"""How long a closed connection waits for the TLS close of the peer, which must not delay the shutdown."""

PRE_STOP_SECONDS = 5
"""How long a chart keeps a pod running before SIGTERM, so that every node and gateway stops sending requests to it."""

MARGIN_SECONDS = 10
"""For all that ends after that: pending purges 2 s, spans 3 s, the audit log 2 s, the log 1 s, and a reserve."""

END_SECONDS = DRAIN_SECONDS + int(IN_FLIGHT_SECONDS) + MARGIN_SECONDS
"""The longest time from SIGTERM to the end of the process."""

GRACE_SECONDS = PRE_STOP_SECONDS + END_SECONDS
"""The least `terminationGracePeriodSeconds` of a pod: Kubernetes includes the preStop hook."""

KEEP_ALIVE_SECONDS = 65
BACKLOG = 2048


def create_app(services: Services, limits: Limits | None = None) -> ASGIApp:
    """The ASGI app on top of `services`; the same one in tests and in production."""
    return Door(create_api(services, limits or Limits()), services.sink, services.clock, request_ids())


def create_broker_server(broker: Broker) -> Server:
    """The server of the broker. Input that never reaches the app is reported like any other exit."""
    services = broker.services
    protocol = bounded_http_protocol(reporter_of_malformed(services.sink, services.clock))
    return create_server(broker.enclose(create_app(services)), protocol, broker.tls)


def request_ids() -> Callable[[], str]:
    """Makes request ids from a random part per process and a counter. They are not secret."""
    process, numbers = secrets.token_hex(8), itertools.count(1)
    return lambda: f"{process}{next(numbers):012x}"


class Server(uvicorn.Server):
    """uvicorn, stopped by its owner: by default it would raise the signal again before our own cleanup.

    Args:
        config: The configuration of uvicorn.
        tls: The TLS context of HTTPS, or None.

    """

    def __init__(self, config: uvicorn.Config, tls: ssl.SSLContext | None) -> None:
        super().__init__(config)
        self._tls = tls

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen at `sockets`, with deadlines for TLS: uvicorn has none, and those of the event loop are minutes."""
        loop = asyncio.get_running_loop()
        # Without TLS the event loop does not accept TLS deadlines.
        handshake, tls_close = (HANDSHAKE_SECONDS, TLS_CLOSE_SECONDS) if self._tls is not None else (None, None)
        self.servers = [
            await loop.create_server(
                self._new_protocol,
                sock=sock,
                ssl=self._tls,
                backlog=self.config.backlog,
                ssl_handshake_timeout=handshake,
                ssl_shutdown_timeout=tls_close,
            )
            for sock in sockets or ()
        ]
        self.started = True

    def _new_protocol(self) -> asyncio.Protocol:
        protocol: type[BoundedHttpProtocol] = self.config.http_protocol_class  # type: ignore[assignment]  # ours
        return protocol(self.config, self.server_state, self.lifespan.state)

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do not handle signals."""
        yield


def create_server(
    app: ASGIApp, protocol: type[BoundedHttpProtocol] = BoundedHttpProtocol, tls: ssl.SSLContext | None = None
) -> Server:
    """A server for `app`, with HTTPS if `tls` is given. Pass its socket to ``serve(sockets=[…])``."""
    return Server(
        uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        ),
        tls,
    )


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens at `host` and `port`; port 0 takes a free one.

    Raises:
        OSError: The address is unavailable.

    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


async def serve(settings: Settings, started: Callable[[str, int], None] = lambda _host, _port: None) -> None:
    """Serve until SIGTERM or SIGINT, then end cleanly: finish requests and exchanges, write the audit log.

    Args:
        settings: All settings.
        started: Called with the address once requests are accepted.

    Raises:
        PolicyError: The policy is missing or bad.
        ValueError: The key ring, or the certificate with its key, is bad.
        OSError: The address is unavailable, or a file that a setting names is unusable.

    """
    sock = listening_socket(settings.host, settings.port)
    # The handlers are removed last: a second signal must not kill a clean shutdown.
    with contextlib.closing(sock), contextlib.ExitStack() as handlers:
        async with assembled(settings) as broker:
            server, readiness = create_broker_server(broker), broker.services.readiness
            handlers.enter_context(_ended_by_signals(server, readiness))
            readiness.ready = True
            started(*sock.getsockname()[:2])
            await server.serve(sockets=[sock])


@contextlib.contextmanager
def _ended_by_signals(server: Server, readiness: Readiness) -> Iterator[None]:
    """Let SIGTERM and SIGINT end the server: no longer ready, no new connections, in-flight requests finished."""
    loop = asyncio.get_running_loop()

    def end() -> None:
        readiness.ready = False
        server.should_exit = True

    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
