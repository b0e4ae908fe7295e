"""Connections to Redis: one pool for commands and one connection that waits for purges.

redis-py 8 retries ten times and waits five seconds by default; here a call takes a quarter of a second, once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from redis.exceptions import NoScriptError, RedisError, TryAgainError

from app.adapters.redis.call_failure import Contact, Failure, unavailable
from app.adapters.redis.cluster import Cluster
from app.adapters.redis.commands import Command
from app.adapters.redis.connections import WAIT_ANSWER_SECONDS, WAIT_CONNECT_SECONDS, RedisAccess, connection_class
from app.adapters.redis.failures import SKIPPED, failure_of
from app.adapters.redis.key_states import READ_STATES, KeyState, key_states
from app.adapters.redis.login_provider import LoginProvider, RedisLogin
from app.adapters.redis.network_failures import FAILURES
from app.adapters.redis.responsive_deadline import ResponsiveDeadline
from app.adapters.redis.routes import Route
from app.adapters.redis.scripts import Script
from app.adapters.redis.sentinels import SentinelAnswer, Sentinels, located
from app.adapters.redis.single_server import SingleServer
from app.adapters.redis.tls_contexts import RedisTls, TlsContexts
from app.domain.dependency_errors import CacheUnavailableError
from app.ports import EventSink
from app.process.breaker import CircuitBreaker
from app.process.observed_call import ObservedCall
from app.settings.redis_address import Endpoint, RedisAddress, parse_redis_url
from app.settings.rules import broken, redis_connection_rules

CALL_TIMEOUT = 0.25
"""Seconds that one call may take in all, with waiting for a connection and connecting; see `ResponsiveDeadline`."""

LISTEN_SECONDS = WAIT_ANSWER_SECONDS / 2
"""Seconds that one blocking read waits on the server's side."""

_Result = TypeVar("_Result")


class RedisClient:
    """Calls Redis with deadlines, a circuit breaker and one event per call. To be made inside the running event loop.

    Args:
        url: A URL that `parse_redis_url` accepts.
        sink: Takes an event of each call.
        tls: Files of an encrypted connection; for ``rediss://`` only.
        login: User and password, if the URL does not name them.
        sentinel_login: User and password at the Sentinels.
        timeout: Seconds for one call.
        max_connections: Size of the pool; further calls wait for a connection.

    Raises:
        ValueError: The URL cannot be used, there are TLS files but no ``rediss://``, both the URL and `login` name
            a user or password, or there is a login at Sentinels but there are none.

    """

    def __init__(
        self,
        url: str,
        sink: EventSink,
        tls: RedisTls | None = None,
        login: RedisLogin | None = None,
        sentinel_login: RedisLogin | None = None,
        *,
        timeout: float = CALL_TIMEOUT,
        max_connections: int = 50,
    ) -> None:
        address = parse_redis_url(url)
        files = tls or RedisTls()
        rules = redis_connection_rules(
            address,
            login=bool(login),
            own_ca=files.cacert is not None,
            cert=files.cert_file is not None,
            key=files.key_file is not None,
            sentinel_login=bool(sentinel_login),
        )
        if wrong := broken(rules):
            raise ValueError(". ".join(wrong))
        self._credentials = LoginProvider(login or RedisLogin(address.user, address.password))
        self._contact = Contact(address.tls, cluster=address.topology == "cluster")
        self._tls_contexts = TlsContexts(files)
        self._sentinel_credentials = LoginProvider(sentinel_login or RedisLogin())
        self._sentinels: Sentinels | None = None
        self._route = self._routed(address, max_connections)
        self._drops = 0
        self._timeout = timeout
        self._sink = sink

    def _routed(self, address: RedisAddress, size: int) -> Route:
        contexts = self._tls_contexts if address.tls else None
        connection = connection_class(contexts, self._contact)
        if address.topology == "cluster":
            return Cluster(RedisAccess(connection, self._credentials), address.endpoints, size)
        if address.topology == "sentinel":
            contact = Contact(address.tls)
            asking = RedisAccess(connection_class(contexts, contact), self._sentinel_credentials, health_check=0)
            self._sentinels = Sentinels(asking, contact, address.endpoints, address.primary, self._leave)
            connection = located(connection, self._sentinels)
        access = RedisAccess(connection, self._credentials, address.database)
        return SingleServer(access, address.endpoints[0], self._sentinels, size)

    @property
    def circuit_is_open(self) -> bool:
        """Whether Redis did not answer lately, so that most calls fail at once instead of waiting for it."""
        return self._route.circuit_is_open

    @property
    def is_cluster(self) -> bool:
        """Whether Redis is a cluster."""
        return self._contact.cluster

    async def call(
        self, operation: str, key: str, *commands: Command, tolerated: type[RedisError] | None = None
    ) -> list[Any]:
        """Send commands in one round trip; their answers, in order.

        Args:
            operation: Name for metrics; a constant of the code.
            key: One of their keys; in a cluster, all of them are of its slot.
            commands: What to send.
            tolerated: A refusal that counts as an answer; the list is empty then.

        Raises:
            CacheUnavailableError: Redis did not do it, whatever the reason.

        """

        async def perform() -> list[Any]:
            try:
                return await self._route.perform(key, commands)
            except RedisError as error:
                if tolerated is None or not isinstance(error, tolerated):
                    raise
                return []

        return await self._within(operation, self._route.breaker(key), perform)

    async def run(self, operation: str, script: Script, keys: Sequence[str], args: Sequence[bytes | str | int]) -> Any:
        """Run a script; its answer is bytes or an integer. Raises as `call`."""
        breaker = self._route.breaker(keys[0])
        [answer] = await self._within(operation, breaker, lambda: self._evaluated(script, [keys], args))
        return answer

    async def states(self, operation: str, names: Sequence[str]) -> list[KeyState]:
        """The values and lives of keys of one slot, in order, at one moment. Raises as `call`."""
        return await self._within(operation, self._route.breaker(names[0]), lambda: self._states(names))

    async def _states(self, names: Sequence[str]) -> list[KeyState]:
        try:
            [answer] = await self._evaluated(READ_STATES, [names], divided=True)
        except TryAgainError:  # Their slot is being moved, and some are at the new node already.
            answers = await self._evaluated(READ_STATES, [[name] for name in names])
            return [state for answer in answers for state in key_states(answer, 1)]
        return key_states(answer, len(names))

    async def _evaluated(
        self,
        script: Script,
        of_keys: Sequence[Sequence[str]],
        args: Sequence[bytes | str | int] = (),
        *,
        divided: bool = False,
    ) -> list[Any]:
        """Run a script once for each group of keys, all of one slot, in one round trip."""
        key = of_keys[0][0]
        calls = [(len(keys), *keys, *args) for keys in of_keys]
        try:
            return await self._route.perform(key, [("EVALSHA", script.sha1, *call) for call in calls], divided=divided)
        except NoScriptError:
            return await self._route.perform(key, [("EVAL", script.source, *call) for call in calls], divided=divided)

    async def values(self, operation: str, names: Sequence[str]) -> list[bytes | None]:
        """The values of keys of any slot; None if it is missing or has another type. Raises as `call`."""
        breaker = self._route.breaker(names[0] if names else "")
        return await self._within(operation, breaker, lambda: self._route.values(names))

    async def primaries(self, operation: str) -> list[Endpoint]:
        """All servers that have keys. Raises as `call`."""
        return await self._within(operation, self._route.breaker(""), self._route.primaries)

    async def call_at(self, operation: str, endpoint: Endpoint, *commands: Command) -> list[Any]:
        """As `call`, at one of `primaries`."""
        breaker = self._route.breaker("")
        return await self._within(operation, breaker, lambda: self._route.perform_at(endpoint, commands))

    async def listen(self, operation: str, key: str, *commands: Command) -> list[Any]:
        """As `call` for commands that may wait `LISTEN_SECONDS`, outside pool and circuit; emits failures alone."""
        self._route.look()
        try:
            with self._observed(operation, only_failures=True), _KeptCancellation():
                async with asyncio.timeout(WAIT_CONNECT_SECONDS + WAIT_ANSWER_SECONDS):
                    answers = await self._route.perform(key, commands, waiting=True)
        except FAILURES as error:
            raise unavailable(failure_of(error, self._contact)) from None
        self._contact.answered = True
        return answers

    async def run_in_background(
        self, operation: str, script: Script, keys: Sequence[str], args: Sequence[bytes | str | int]
    ) -> Any:
        """As `run`, for a task that no request waits for: it has the time of `listen`, also to connect.

        With answers that take 200 ms, a call has no time for a new connection, which needs several of them.
        """
        [answer] = await self.listen(operation, keys[0], ("EVAL", script.source, len(keys), *keys, *args))
        return answer

    @property
    def has_sentinels(self) -> bool:
        """Whether Sentinels say where Redis is."""
        return self._sentinels is not None

    async def sentinel_answers(self) -> list[SentinelAnswer]:
        """What each Sentinel says of the primary; empty without Sentinels."""
        return [] if self._sentinels is None else await self._sentinels.answers()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._route.aclose()
        self._credentials.close()
        self._sentinel_credentials.close()
        self._tls_contexts.close()

    async def _within(self, operation: str, breaker: CircuitBreaker, work: Callable[[], Awaitable[_Result]]) -> _Result:
        """Do `work` within the deadline of a call, unless the circuit is open."""
        self._route.look()
        drops = self._drops
        try:
            with self._observed(operation):
                if not breaker.try_acquire():
                    raise _CircuitOpenError
                with _KeptCancellation():
                    async with ResponsiveDeadline(self._timeout):
                        result = await work()
        except _CircuitOpenError:
            raise CacheUnavailableError(SKIPPED.detail) from None
        except FAILURES as error:
            # The error itself may quote what was sent, so it ends here.
            raise await self._failed(failure_of(error, self._contact), breaker, drops) from None
        self._answered(breaker)
        return result

    def _observed(self, operation: str, *, only_failures: bool = False) -> ObservedCall:
        return ObservedCall(
            self._sink,
            "redis",
            operation,
            lambda error: self._failure(error).outcome,
            reason_of=lambda error: self._failure(error).detail,
            only_failures=only_failures,
        )

    def _failure(self, error: BaseException) -> Failure:
        return SKIPPED if isinstance(error, _CircuitOpenError) else failure_of(error, self._contact)

    def _answered(self, breaker: CircuitBreaker) -> None:
        self._contact.answered = True
        breaker.succeeded()

    async def _failed(self, failure: Failure, breaker: CircuitBreaker, drops: int) -> CacheUnavailableError:
        if failure.unreachable:
            breaker.failed()
        elif failure.asked:
            self._answered(breaker)
        # Of many calls that a demoted primary refuses, one leaves it: the others' connections may be new ones.
        if failure.outcome == "read_only" and drops == self._drops:
            await self._leave()
        return unavailable(failure)

    async def _leave(self) -> None:
        self._drops += 1
        await self._route.leave()


class _CircuitOpenError(Exception):
    """The call was not made."""


class _KeptCancellation:
    """Raises a cancellation that got lost inside.

    redis-py sends with `asyncio.wait_for`, which before Python 3.12 forgets a cancellation that comes as the sending
    ends. A task that must end would then go on; the listener's would never end.
    """

    __slots__ = ("_before", "_task")

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        self._before = 0 if self._task is None else self._task.cancelling()

    def __exit__(self, *_: object) -> None:
        if self._task is not None and self._task.cancelling() > self._before:
            raise asyncio.CancelledError
