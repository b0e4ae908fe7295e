"""How connections to Redis are made: redis-py's pool and its classes of connections, set up for the broker."""

from __future__ import annotations

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from typing_extensions import override

from app.adapters.redis.call_failure import Contact
from app.adapters.redis.login_provider import LoginProvider
from app.adapters.redis.tls_contexts import TlsContexts
from app.settings.redis_address import RedisAddress

_HEALTH_CHECK_SECONDS = 15


def connected_to(
    address: RedisAddress,
    connection: type[Connection],
    credentials: LoginProvider,
    connect: float | None,
    answer: float | None,
    size: int,
) -> Redis:
    """A client of redis-py with a pool of its own.

    Args:
        address: Where Redis is.
        connection: The class of its connections.
        credentials: The login.
        connect: Seconds for a new connection, and to wait for a free one; None without a limit.
        answer: Seconds for each answer; None without a limit.
        size: Connections at most.

    """
    pool = BlockingConnectionPool(
        max_connections=size,
        timeout=connect,
        connection_class=connection,
        host=address.host,
        port=address.port,
        db=address.database,
        credential_provider=credentials if credentials.are_needed else None,
        socket_connect_timeout=connect,
        socket_timeout=answer,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=_HEALTH_CHECK_SECONDS,
        # RESP2 and no CLIENT SETINFO: connecting costs no round trip of its own, and needs no further permission.
        protocol=2,
        driver_info=None,
        decode_responses=False,
    )
    return Redis.from_pool(pool)


def connection_class(address: RedisAddress, contexts: TlsContexts, contact: Contact) -> type[Connection]:
    """The class of connections to `address`.

    Args:
        address: Where Redis is.
        contexts: How connections are encrypted; unused for ``redis://``.
        contact: Notes TLS handshakes.

    """
    if not address.tls:
        return Connection

    class TlsConnection(SSLConnection):
        """Shares its context with other connections, instead of reading the CA files for each."""

        @override
        async def _connect(self) -> None:
            self.ssl_context.context = await contexts.current()
            await super()._connect()  # type: ignore[no-untyped-call]  # redis-py's
            contact.handshaken, contact.answered = True, False

    return TlsConnection
