"""The turn to exchange: a lease that is renewed while its holder works."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum

from app.domain.dependency_errors import CacheUnavailableError
from app.domain.names import TokenKey
from app.ports import Lease

LONGEST_TURN_SECONDS = 12.0
"""The longest time for which a holder renews its lease: the deadline of the exchange and a small margin."""

RENEWAL_SECONDS = 1.0
"""A crashed holder stops renewing, so that the others need not wait for `LONGEST_TURN_SECONDS`."""


class Turn(Enum):
    """Whose turn it is to exchange."""

    OURS = "ours"
    TAKEN = "taken"
    """Another replica holds the lease."""

    UNKNOWN = "unknown"
    """The shared cache is unavailable. The single flight still limits each replica to one exchange."""

    @property
    def may_exchange(self) -> bool:
        """Whether this replica may exchange now."""
        return self is not Turn.TAKEN


class LeaseTurns:
    """Takes turns with the other replicas.

    Args:
        lease: The lease of the right to exchange.
        renewal_seconds: The interval at which a held lease is renewed.

    """

    def __init__(self, lease: Lease, renewal_seconds: float = RENEWAL_SECONDS) -> None:
        self._lease = lease
        self._renewal_seconds = renewal_seconds

    @asynccontextmanager
    async def take(self, key: TokenKey) -> AsyncIterator[Turn]:
        """Take the lease if it is free, and hold it within the context."""
        try:
            holder = await self._lease.acquire(key)
        except CacheUnavailableError:
            yield Turn.UNKNOWN
            return
        if holder is None:
            yield Turn.TAKEN
            return
        renewal = asyncio.create_task(self._renew(key, holder), name="lease-renewal")
        try:
            yield Turn.OURS
        finally:
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)
            await self._release(key, holder)

    async def _renew(self, key: TokenKey, holder: str) -> None:
        for _ in range(int(LONGEST_TURN_SECONDS / self._renewal_seconds)):
            await asyncio.sleep(self._renewal_seconds)
            try:
                if not await self._lease.renew(key, holder):
                    return
            except CacheUnavailableError:
                continue

    async def _release(self, key: TokenKey, holder: str) -> None:
        try:
            await self._lease.release(key, holder)
        except CacheUnavailableError:
            return  # It expires within seconds.
