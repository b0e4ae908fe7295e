"""The way to one server: at a fixed address, or where Sentinels say it is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from app.adapters.redis.commands import Command, performed
from app.adapters.redis.connections import NodePools, RedisAccess
from app.adapters.redis.sentinels import Sentinels
from app.process.breaker import CircuitBreaker
from app.settings.redis_address import Endpoint


class SingleServer:
    """A `Route` to one server.

    Args:
        access: How to connect to it.
        endpoint: Where it is, if there are no Sentinels.
        sentinels: Say where it is, and close with it; None without them.
        size: Connections for calls at most.

    """

    def __init__(self, access: RedisAccess, endpoint: Endpoint, sentinels: Sentinels | None, size: int) -> None:
        self.pools = NodePools(access, endpoint, size)
        self._endpoint = endpoint
        self._sentinels = sentinels
        self._breaker = CircuitBreaker(time.monotonic)

    @property
    def circuit_is_open(self) -> bool:
        """See `Route.circuit_is_open`."""
        return self._breaker.is_open

    def breaker(self, key: str) -> CircuitBreaker:  # noqa: ARG002  # there is one server
        """See `Route.breaker`."""
        return self._breaker

    async def perform(
        self,
        key: str,  # noqa: ARG002
        commands: Sequence[Command],
        *,
        waiting: bool = False,
        divided: bool = False,  # noqa: ARG002
    ) -> list[Any]:
        """See `Route.perform`."""
        return await performed(self.pools.waits if waiting else self.pools.calls, commands)

    async def values(self, names: Sequence[str]) -> list[bytes | None]:
        """See `Route.values`. One command."""
        [values] = await performed(self.pools.calls, [("MGET", *names)])
        return list(values)

    async def primaries(self) -> list[Endpoint]:
        """See `Route.primaries`."""
        return [self._endpoint]

    async def perform_at(self, endpoint: Endpoint, commands: Sequence[Command]) -> list[Any]:  # noqa: ARG002
        """See `Route.perform_at`."""
        return await performed(self.pools.calls, commands)

    def look(self) -> None:
        """See `Route.look`."""
        if self._sentinels is not None:
            self._sentinels.look()

    async def leave(self) -> None:
        """See `Route.leave`."""
        if self._sentinels is not None:
            self._sentinels.doubt()
        await self.pools.leave()

    async def aclose(self) -> None:
        """See `Route.aclose`."""
        if self._sentinels is not None:
            await self._sentinels.aclose()
        await self.pools.aclose()
