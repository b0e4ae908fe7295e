"""Where the primary is, as Redis' Sentinels say it: asked for a new connection and now and then, never for a request.

All Sentinels are asked side by side and most of them must agree, so that neither one that hangs nor one that was cut
off decides. The question is one task that all new connections share; a caller whose time is over leaves it running.

Waiting for connections to break is not enough. Measured four times with Redis 7.0.15 and the Sentinels' own periods: a
primary that was replaced on order, and so still ran, took writes for 11 s after the other one had been promoted, until
the Sentinels made it a replica; they were lost.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from redis import exceptions
from redis.asyncio import Connection
from typing_extensions import override

from app.adapters.redis.call_failure import Contact, Failure
from app.adapters.redis.connections import RedisAccess
from app.adapters.redis.network_failures import FAILURES, SentinelsError, network_failure
from app.process.single_flight import SingleFlight
from app.settings.redis_address import Endpoint

SENTINELS_SECONDS = 1.0
"""For an answer of the Sentinels; longer than a call, which then fails while the question goes on."""

_KNOWN_SECONDS = 1.0
"""How long an answer serves further new connections: a full pool that reconnects asks once."""

_LOOK_SECONDS = 2.0
"""How often to look whether another server has become the primary."""

_OTHERS_SECONDS = 0.1
"""How long to wait for the other Sentinels if the first answers are not those of most."""

_CONNECTIONS = 2

_SILENT = Failure("unreachable", "None of the Sentinels in BROKER_REDIS_URL answers.", unreachable=True)
_UNKNOWN_PRIMARY = Failure(
    "unreachable",
    "The Sentinels do not know a primary of that name; BROKER_REDIS_URL must have it after the hosts.",
    unreachable=True,
)
_NO_SENTINEL = Failure(
    "unreachable",
    "The servers in BROKER_REDIS_URL are no Sentinels, whose port is usually 26379; name those, or begin with redis://.",
    unreachable=True,
)
_LOGIN = Failure(
    "unauthenticated",
    "The Sentinels refuse the broker's login; check BROKER_REDIS_SENTINEL_USERNAME and"
    " BROKER_REDIS_SENTINEL_PASSWORD_FILE, which are not those of Redis.",
    unreachable=True,
)
_FORBIDDEN = Failure(
    "forbidden",
    "The Sentinels' access list does not allow the broker sentinel|get-master-addr-by-name;"
    " docs/least-privilege.md has the line.",
    unreachable=True,
)


@dataclass(frozen=True, slots=True)
class SentinelAnswer:
    """What one Sentinel says.

    Args:
        sentinel: Which one.
        primary: Where the primary is; None if it does not say.
        failure: Why it does not say.

    """

    sentinel: Endpoint
    primary: Endpoint | None
    failure: Failure | None = None


class Sentinels:
    """Knows the primary.

    Args:
        access: How to connect to a Sentinel.
        contact: What is known of their connections.
        endpoints: The Sentinels.
        name: Their name of the primary.
        moved: Called and awaited when the primary is another one than before.

    """

    def __init__(
        self,
        access: RedisAccess,
        contact: Contact,
        endpoints: Sequence[Endpoint],
        name: str,
        moved: Callable[[], Awaitable[None]],
    ) -> None:
        self._contact = contact
        self._clients = {endpoint: access.pool(endpoint, None, None, _CONNECTIONS) for endpoint in endpoints}
        self._name = name
        self._moved = moved
        self._questions = SingleFlight[str, Endpoint](name="redis-sentinels")
        self._last: Endpoint | None = None
        self._asked_at = -math.inf

    async def primary(self) -> Endpoint:
        """Where the primary is now.

        Raises:
            SentinelsError: No Sentinel says it.

        """
        if self._last is not None and self._age() < _KNOWN_SECONDS:
            return self._last
        return await self._questions.join(self._name, self._find)

    def look(self) -> None:
        """Ask in the background if the last answer is old, so that a primary that was replaced is left at once."""
        if self._age() >= _LOOK_SECONDS:
            self._questions.start(self._name, self._find)

    def doubt(self) -> None:
        """Ask again for the next connection: the last answer could not be used as a primary."""
        self._asked_at = -math.inf

    async def answers(self) -> list[SentinelAnswer]:
        """What each Sentinel says, in their order; for a diagnosis."""
        return list(await asyncio.gather(*(self._asked(endpoint) for endpoint in self._clients)))

    async def aclose(self) -> None:
        """End a question that is being asked, and close the connections."""
        await self._questions.aclose(0)
        for client in self._clients.values():
            await client.aclose()

    def _age(self) -> float:
        return asyncio.get_running_loop().time() - self._asked_at

    async def _find(self) -> Endpoint:
        found = await self._agreed()
        before, self._last = self._last, found
        self._asked_at = asyncio.get_running_loop().time()
        if before is not None and found != before:
            await self._moved()
        return found

    async def _agreed(self) -> Endpoint:
        """What most Sentinels say; if there is no majority in time, what most of those say that answered."""
        pending = {asyncio.ensure_future(self._asked(endpoint)) for endpoint in self._clients}
        majority = len(pending) // 2 + 1
        votes = Counter[Endpoint]()
        failures: list[Failure] = []
        try:
            while pending and (not votes or votes.most_common(1)[0][1] < majority):
                patience = _OTHERS_SECONDS if votes else None
                done, pending = await asyncio.wait(pending, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    break
                for answer in (task.result() for task in done):
                    votes.update([] if answer.primary is None else [answer.primary])
                    failures += [] if answer.failure is None else [answer.failure]
        finally:
            for task in pending:
                task.cancel()
        if not votes:
            raise SentinelsError(_most_telling(failures))
        return votes.most_common(1)[0][0]

    async def _asked(self, sentinel: Endpoint) -> SentinelAnswer:
        try:
            async with asyncio.timeout(SENTINELS_SECONDS):
                answer = await self._clients[sentinel].execute_command(  # type: ignore[no-untyped-call]  # redis-py's
                    "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._name
                )
        except FAILURES as error:
            return SentinelAnswer(sentinel, None, _why(error, self._contact))
        if answer is None:
            return SentinelAnswer(sentinel, None, _UNKNOWN_PRIMARY)
        host, port = answer
        return SentinelAnswer(sentinel, Endpoint(host.decode(), int(port)))


def located(base: type[Connection], sentinels: Sentinels) -> type[Connection]:
    """A class of connections that asks `sentinels` where to connect to, whenever it connects.

    Args:
        base: What the connections are otherwise.
        sentinels: Know the primary.

    """

    class PrimaryConnection(base):  # type: ignore[misc,valid-type]  # mypy knows no class that is a value
        """A connection to what is the primary at the time."""

        @override
        async def _connect(self) -> None:
            self.host, self.port = await sentinels.primary()
            try:
                await super()._connect()
            except BaseException:
                sentinels.doubt()
                raise

    return PrimaryConnection


def _most_telling(failures: Sequence[Failure]) -> Failure:
    """Of what all Sentinels answered: one that answers, but not with the primary, says more than one that is silent."""
    return next((failure for failure in failures if failure is not _SILENT), _SILENT)


def _why(error: BaseException, contact: Contact) -> Failure:
    if isinstance(error, (exceptions.AuthenticationError, exceptions.AuthorizationError)):
        return _LOGIN
    if isinstance(error, exceptions.NoPermissionError):
        return _FORBIDDEN
    if isinstance(error, exceptions.ResponseError):
        return _NO_SENTINEL
    failure = network_failure(error, contact)
    if failure is None or failure.outcome != "tls_failed":
        return _SILENT
    return Failure(failure.outcome, f"At the Sentinels: {failure.detail}", unreachable=True)
