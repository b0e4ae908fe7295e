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
from app.api.warm_connection import warm_http_protocol
from app.bootstrap.broker import IN_FLIGHT_SECONDS, Broker, assembled
from app.bootstrap.workers import THE_ONLY_ONE, WorkerPlace
from app.settings.settings import Settings

LINGER_SECONDS = 1
"""How long open connections are kept at the end, so that the next answer on each can say that it is the last one."""

DRAIN_SECONDS = LINGER_SECONDS + 15
"""From SIGTERM until all requests are answered: 15 s is slightly more than a request may take."""

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
_LOOK_SECONDS = 0.02


def create_app(services: Services, limits: Limits | None = None) -> Door:
    """The ASGI app on top of `services`; the same one in tests and in production."""
    api = create_api(services, limits or Limits())
    return Door(api, services.sink, services.clock, request_ids(), services.audit_is_full)


def create_broker_server(broker: Broker) -> Server:
    """The server of the broker. Input that never reaches the app is reported like any other exit."""
    services = broker.services
    protocol = bounded_http_protocol(reporter_of_malformed(services.sink, services.clock))
    app = create_app(services)
    if broker.answers_at_connection:
        protocol = warm_http_protocol(protocol, app.warm)
    return create_server(broker.enclose(app), protocol, broker.tls, LINGER_SECONDS)


def request_ids() -> Callable[[], str]:
    """Makes request ids from a random part per process and a counter. They are not secret."""
    process, numbers = secrets.token_hex(8), itertools.count(1)
    return lambda: f"{process}{next(numbers):012x}"


class Server(uvicorn.Server):
    """uvicorn, stopped by its owner: by default it would raise the signal again before our own cleanup.

    Args:
        config: The configuration of uvicorn.
        tls: The TLS context of HTTPS, or None.
        linger: For how many seconds open connections are kept at the end.

    """

    def __init__(self, config: uvicorn.Config, tls: ssl.SSLContext | None, linger: float) -> None:
        super().__init__(config)
        self._tls = tls
        self._linger = linger

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

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, let the next answer on each connection say that it is the last one, then close the rest."""
        for server in self.servers:
            server.close()
        loop = asyncio.get_running_loop()
        until = loop.time() + self._linger
        while self.server_state.connections and loop.time() < until:
            # Again and again, for a connection may have been accepted a moment before.
            for connection in tuple(self.server_state.connections):
                assert isinstance(connection, BoundedHttpProtocol)  # noqa: S101  # made by `_new_protocol`
                connection.drain()
            await asyncio.sleep(_LOOK_SECONDS)
        await super().shutdown(sockets)

    def _new_protocol(self) -> asyncio.Protocol:
        protocol: type[BoundedHttpProtocol] = self.config.http_protocol_class  # type: ignore[assignment]  # ours
        return protocol(self.config, self.server_state, self.lifespan.state)

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do not handle signals."""
        yield


def create_server(
    app: ASGIApp,
    protocol: type[BoundedHttpProtocol] = BoundedHttpProtocol,
    tls: ssl.SSLContext | None = None,
    linger: float = 0.0,
) -> Server:
    """A server for `app`. Pass its socket to ``serve(sockets=[…])``.

    Args:
        app: The app.
        protocol: Makes the object for a connection.
        tls: The TLS context of HTTPS, or None for plain HTTP.
        linger: For how many seconds open connections are kept at the end; at most `LINGER_SECONDS`.

    """
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
            timeout_graceful_shutdown=DRAIN_SECONDS - LINGER_SECONDS,
        ),
        tls,
        linger,
    )


def listening_socket(host: str, port: int, *, is_shared: bool = False) -> socket.socket:
    """A socket that listens at `host` and `port`; port 0 takes a free one.

    Args:
        host: An IP address.
        port: The port.
        is_shared: Whether other workers listen there, too (SO_REUSEPORT). The kernel gives each connection to one.

    Raises:
        OSError: The address is unavailable.

    """
    sock = _bound(host, port, is_shared=is_shared)
    try:
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def reserved_socket(host: str, port: int) -> socket.socket:
    """A socket that reserves an address for the workers, and does not listen.

    Arguments and errors as for `listening_socket`.
    """
    # With SO_REUSEPORT, another broker of the same user would not be noticed.
    with listening_socket(host, port) as alone:
        port = alone.getsockname()[1]
    return _bound(host, port, is_shared=True)


def _bound(host: str, port: int, *, is_shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if is_shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


async def serve(
    settings: Settings,
    started: Callable[[str, int], None] = lambda _host, _port: None,
    place: WorkerPlace = THE_ONLY_ONE,
) -> None:
    """Serve until SIGTERM or SIGINT, then end cleanly: finish requests and exchanges, write the audit log.

    Args:
        settings: All settings.
        started: Called with the address once requests are accepted.
        place: The place of this process in its replica.

    Raises:
        PolicyError: The policy is missing or bad.
        ValueError: The key ring, or the certificate with its key, is bad.
        OSError: The address is unavailable, or a file that a setting names is unusable.

    """
    sock = listening_socket(settings.host, place.port or settings.port, is_shared=place.workers > 1)
    # The handlers are removed last: a second signal must not kill a clean shutdown.
    with contextlib.closing(sock), contextlib.ExitStack() as handlers:
        async with assembled(settings, place) as broker:
            server, readiness = create_broker_server(broker), broker.services.readiness
            handlers.enter_context(_ended_by_signals(server, readiness, place.orphaned))
            readiness.ready = True
            started(*sock.getsockname()[:2])
            await server.serve(sockets=[sock])


@contextlib.contextmanager
def _ended_by_signals(server: Server, readiness: Readiness, orphaned: int | None) -> Iterator[None]:
    """Let SIGTERM, SIGINT and the end of the parent end the server.

    It is no longer ready, takes no new connections, and finishes the requests in flight.
    """
    loop = asyncio.get_running_loop()

    def end() -> None:
        readiness.ready = False
        server.should_exit = True

    def end_alone() -> None:
        assert orphaned is not None  # noqa: S101  # else it is not watched
        loop.remove_reader(orphaned)
        end()

    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, end)
    if orphaned is not None:
        loop.add_reader(orphaned, end_alone)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
