"""How connections to Redis are made: redis-py's pool and its classes of connections, set up for the broker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as NoConnectionError
from typing_extensions import override

from app.adapters.redis.bounded_replies import BoundedReplies
from app.adapters.redis.call_failure import Contact, UnansweredError
from app.adapters.redis.login_provider import LoginProvider
from app.adapters.redis.tls_contexts import TlsContexts
from app.settings.redis_address import Endpoint

WAIT_CONNECT_SECONDS = 1.0
"""To connect for a call that may wait at the server. No request waits for it."""

WAIT_ANSWER_SECONDS = 2.0
"""For its answer."""

_HEALTH_CHECK_SECONDS = 15
_WAITS = 4


@dataclass(frozen=True, slots=True)
class RedisAccess:
    """What every connection to one kind of server has.

    Args:
        connection: The class of the connections.
        credentials: The login.
        database: Number of the database.
        health_check: Seconds after which a connection that was idle is checked by a PING; 0 for never.

    """

    connection: type[Connection]
    credentials: LoginProvider
    database: int = 0
    health_check: int = _HEALTH_CHECK_SECONDS

    def pool(self, endpoint: Endpoint, connect: float | None, answer: float | None, size: int) -> Redis:
        """A client of redis-py with a pool of its own, in which calls wait for a free connection.

        Args:
            endpoint: Where the server is.
            connect: Seconds for a new connection, and to wait for a free one; None without a limit.
            answer: Seconds for each answer; None without a limit.
            size: Connections at most.

        """
        pool = BlockingConnectionPool(
            max_connections=size,
            timeout=connect,
            connection_class=self.connection,
            host=endpoint.host,
            port=endpoint.port,
            db=self.database,
            credential_provider=self.credentials if self.credentials.are_needed else None,
            socket_connect_timeout=connect,
            socket_timeout=answer,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=self.health_check,
            # RESP2 and no CLIENT SETINFO: connecting costs no round trip of its own, and needs no further permission.
            protocol=2,
            driver_info=None,
            parser_class=BoundedReplies,
            decode_responses=False,
        )
        return Redis.from_pool(pool)


class NodePools:
    """The connections to one server.

    Calls have the one deadline of `RedisClient.call`: redis-py's own would run on while the loop is busy.

    Args:
        access: How to connect to it.
        endpoint: Where it is.
        size: Connections for calls at most.

    """

    def __init__(self, access: RedisAccess, endpoint: Endpoint, size: int) -> None:
        self.calls = access.pool(endpoint, None, None, size)
        self.waits = access.pool(endpoint, WAIT_CONNECT_SECONDS, WAIT_ANSWER_SECONDS, _WAITS)

    async def leave(self) -> None:
        """Close what is idle now, and what is in use once it is returned."""
        for redis in (self.calls, self.waits):
            pool = redis.connection_pool
            await pool.update_active_connections_for_reconnect()  # type: ignore[no-untyped-call]  # redis-py's
            await pool.disconnect(inuse_connections=False)

    async def aclose(self) -> None:
        """Close all connections."""
        await self.calls.aclose()
        await self.waits.aclose()


def connection_class(contexts: TlsContexts | None, contact: Contact) -> type[Connection]:
    """A class of connections.

    Args:
        contexts: How connections are encrypted; None for plain ones.
        contact: Notes TLS handshakes.

    """
    return Connection if contexts is None else _tls_connection(contexts, contact)


def _tls_connection(contexts: TlsContexts, contact: Contact) -> type[Connection]:
    class TlsConnection(SSLConnection):
        """Shares its context with other connections, instead of reading the CA files for each."""

        _parser: BoundedReplies

        @override
        async def _connect(self) -> None:
            self._parser.awaits_first = False
            self.ssl_context.context = await contexts.current()
            await super()._connect()  # type: ignore[no-untyped-call]  # redis-py's
            contact.handshaken, contact.answered = True, False
            self._parser.awaits_first = True

        @override
        async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
            with self._told_apart():
                await super().send_packed_command(command, check_health)

        @override
        async def read_response(self, *args: Any, **options: Any) -> Any:
            with self._told_apart():
                return await super().read_response(*args, **options)

        @contextmanager
        def _told_apart(self) -> Iterator[None]:
            """Raise an error of its own if the connection is lost before its first answer.

            With TLS 1.3 a server refuses a client's certificate after the handshake. Its alert is lost if what was sent
            meanwhile is answered by a reset, and what is known of other connections does not help.
            """
            try:
                yield
            except NoConnectionError as error:
                if isinstance(error, UnansweredError) or not self._parser.awaits_first:
                    raise
                raise UnansweredError("no answer") from error.__cause__ or error.__context__

    return TlsConnection
