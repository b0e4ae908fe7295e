"""Whose turn it is to exchange: the lease, renewed for as long as its holder lives and works."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.domain.errors import CacheUnavailableError
from app.domain.names import TokenKey
from app.ports import Lease

LONGEST_TURN_SECONDS = 12.0
"""Longest time that a holder goes on renewing its lease: the exchange's deadline and a small margin."""

RENEWAL_SECONDS = 1.0
"""A holder that is gone stops renewing, so that the others need not wait for `LONGEST_TURN_SECONDS`."""


class LeaseTurns:
    """Takes turns with the other replicas.

    Args:
        lease: The right to exchange.

    """

    def __init__(self, lease: Lease) -> None:
        self._lease = lease

    @asynccontextmanager
    async def take(self, key: TokenKey) -> AsyncIterator[bool | None]:
        """Hold the lease: True where it is ours, False where somebody else's, None where nobody can tell."""
        try:
            holder = await self._lease.acquire(key)
        except CacheUnavailableError:
            # Without the shared cache the flight in this process still holds: one exchange per replica.
            yield None
            return
        if holder is None:
            yield False
            return
        renewal = asyncio.create_task(self._renew(key, holder), name="lease-renewal")
        try:
            yield True
        finally:
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)
            await self._release(key, holder)

    async def _renew(self, key: TokenKey, holder: str) -> None:
        for _ in range(int(LONGEST_TURN_SECONDS / RENEWAL_SECONDS)):
            await asyncio.sleep(RENEWAL_SECONDS)
            try:
                if not await self._lease.renew(key, holder):
                    return
            except CacheUnavailableError:
                continue

    async def _release(self, key: TokenKey, holder: str) -> None:
        try:
            await self._lease.release(key, holder)
        except CacheUnavailableError:
            return  # It ends by itself within seconds.
