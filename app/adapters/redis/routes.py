"""Which server a command goes to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from app.adapters.redis.commands import Command
from app.process.breaker import CircuitBreaker
from app.settings.redis_address import Endpoint


class Route(Protocol):
    """The way to the server of a key. None of its methods has a deadline for all of its work: that is the caller's."""

    async def perform(
        self, key: str, commands: Sequence[Command], *, waiting: bool = False, divided: bool = False
    ) -> list[Any]:
        """Send commands to the server of `key`; their answers, in order.

        Args:
            key: One of their keys; the others are of the same slot.
            commands: What to send, in one round trip.
            waiting: Whether one of them may wait at the server, so that it gets a connection of its own.
            divided: Whether the caller divides a single command whose keys are on two nodes, because their slot is
                being moved. Otherwise it is sent again until all are on one.

        Raises:
            RedisError: Of the first command that failed; `TryAgainError` if the caller must divide it.

        """

    async def values(self, names: Sequence[str]) -> list[bytes | None]:
        """The values of keys of any slot, in order; None if it is missing or has another type. Raises as `perform`."""

    def breaker(self, key: str) -> CircuitBreaker:
        """The circuit breaker of the server of `key`."""

    @property
    def circuit_is_open(self) -> bool:
        """Whether a circuit breaker is open."""

    async def primaries(self) -> list[Endpoint]:
        """All servers that have keys. Raises as `perform`."""

    async def perform_at(self, endpoint: Endpoint, commands: Sequence[Command]) -> list[Any]:
        """Send commands to one of `primaries`; their answers, in order. Raises as `perform`."""

    def look(self) -> None:
        """Look in the background, now and then, whether another server has become the primary."""

    async def leave(self) -> None:
        """Leave a primary that was demoted: its name may lead to the new one, but open connections never will."""

    async def aclose(self) -> None:
        """Close all connections."""
