"""Connections to Redis: one pool for commands and one connection that waits for purges.

redis-py 8 retries ten times and waits five seconds by default; here a call takes a quarter of a second, once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from app.adapters.redis.call_failure import Contact, Failure
from app.adapters.redis.connections import connected_to, connection_class
from app.adapters.redis.failures import FAILURES, SKIPPED, failure_of
from app.adapters.redis.login_provider import LoginProvider, RedisLogin
from app.adapters.redis.responsive_deadline import responsive_deadline
from app.adapters.redis.scripts import Script
from app.adapters.redis.tls_contexts import RedisTls, TlsContexts
from app.domain.dependency_errors import CacheUnavailableError
from app.ports import EventSink
from app.process.breaker import CircuitBreaker
from app.process.observed_call import ObservedCall
from app.settings.redis_address import parse_redis_url
from app.settings.rules import redis_connection_rules, refuse

CALL_TIMEOUT = 0.25
"""Seconds that one call may take in all, with waiting for a connection and connecting; see `responsive_deadline`."""

LISTEN_SECONDS = 1.0
"""Seconds that one blocking read waits on the server's side."""

_LISTEN_MARGIN = 1.0

_Result = TypeVar("_Result")


class RedisClient:
    """Calls Redis with deadlines, a circuit breaker and one event per call. To be made inside the running event loop.

    Args:
        url: As `parse_redis_url` takes it.
        sink: Takes an event of each call.
        tls: Files of an encrypted connection; for ``rediss://`` only.
        login: User and password, if the URL does not name them.
        timeout: Seconds for one call.
        max_connections: Size of the pool; further calls wait for a connection.

    Raises:
        ValueError: The URL cannot be used, there are TLS files but no ``rediss://``, or both the URL and `login` name
            a user or password.

    """

    def __init__(
        self,
        url: str,
        sink: EventSink,
        tls: RedisTls | None = None,
        login: RedisLogin | None = None,
        *,
        timeout: float = CALL_TIMEOUT,
        max_connections: int = 50,
    ) -> None:
        address = parse_redis_url(url)
        files = tls or RedisTls()
        refuse(
            redis_connection_rules(
                address,
                login=bool(login),
                own_ca=files.cacert is not None,
                cert=files.cert_file is not None,
                key=files.key_file is not None,
            )
        )
        self._credentials = LoginProvider(login or RedisLogin(address.user, address.password))
        self._contact = Contact(address.tls)
        self._tls_contexts = TlsContexts(files)
        connection = connection_class(address, self._tls_contexts, self._contact)
        # Calls have the one deadline of `call`: redis-py's own would run on while the loop is busy.
        self._redis = connected_to(address, connection, self._credentials, None, None, max_connections)
        answer = LISTEN_SECONDS + _LISTEN_MARGIN
        self._listener = connected_to(address, connection, self._credentials, timeout, answer, 4)
        self._timeout = timeout
        self._sink = sink
        self._breaker = CircuitBreaker(time.monotonic)

    @property
    def circuit_is_open(self) -> bool:
        """Whether Redis did not answer lately, so that most calls fail at once instead of waiting for it."""
        return self._breaker.is_open

    async def call(self, operation: str, command: Callable[[Redis], Awaitable[_Result]]) -> _Result:
        """Run `command` on the pool.

        Args:
            operation: Name for metrics; a constant of the code.
            command: What to do with the client.

        Raises:
            CacheUnavailableError: Redis did not do it, whatever the reason.

        """
        try:
            with self._observed(operation):
                if not self._breaker.try_acquire():
                    raise _CircuitOpenError
                with _preserving_cancellation():
                    async with responsive_deadline(self._timeout):
                        result = await command(self._redis)
        except _CircuitOpenError:
            raise CacheUnavailableError(SKIPPED.detail) from None
        except FAILURES as error:
            # The error itself may quote what was sent, so it ends here.
            raise await self._failed(failure_of(error, self._contact)) from None
        self._answered()
        return result

    async def run(self, operation: str, script: Script, keys: Sequence[str], args: Sequence[bytes | str | int]) -> Any:
        """Run a script; its answer is bytes or an integer. Raises as `call`."""
        parameters = cast("Sequence[str]", (*keys, *args))  # redis-py's types know text alone; it sends bytes as well

        async def evaluate(redis: Redis) -> Any:
            try:
                return await redis.evalsha(script.sha1, len(keys), *parameters)
            except NoScriptError:
                return await redis.eval(script.source, len(keys), *parameters)

        return await self.call(operation, evaluate)

    async def listen(self, operation: str, command: Callable[[Redis], Awaitable[_Result]]) -> _Result:
        """Run a command that may wait `LISTEN_SECONDS`, outside the pool. Raises as `call`; emits failures alone."""
        try:
            with self._observed(operation, only_failures=True), _preserving_cancellation():
                async with asyncio.timeout(self._timeout + LISTEN_SECONDS + _LISTEN_MARGIN):
                    return await command(self._listener)
        except FAILURES as error:
            raise CacheUnavailableError(failure_of(error, self._contact).detail) from None

    async def aclose(self) -> None:
        """Close all connections."""
        await self._redis.aclose()
        await self._listener.aclose()
        self._credentials.close()
        self._tls_contexts.close()

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

    def _answered(self) -> None:
        self._contact.answered = True
        self._breaker.succeeded()

    async def _failed(self, failure: Failure) -> CacheUnavailableError:
        if failure.unreachable:
            self._breaker.failed()
        elif failure.asked:
            self._answered()
        if failure.outcome == "read_only":
            # A demoted primary: the name may lead to the new one already, but open connections never will.
            await self._redis.connection_pool.disconnect(inuse_connections=False)
        return CacheUnavailableError(failure.detail)


class _CircuitOpenError(Exception):
    """The call was not made."""


@contextmanager
def _preserving_cancellation() -> Iterator[None]:
    """Raise a cancellation that got lost inside.

    redis-py sends with `asyncio.wait_for`, which before Python 3.12 forgets a cancellation that comes as the sending
    ends. A task that must end would then go on; the listener's would never end.
    """
    task = asyncio.current_task()
    before = 0 if task is None else task.cancelling()
    try:
        yield
    finally:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError
