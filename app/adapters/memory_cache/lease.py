"""`Lease` in one process. One process makes one call per key anyway; this keeps the contract of the port."""

from __future__ import annotations

import secrets

from cachetools import LRUCache

from app.domain.names import TokenKey
from app.ports import Clock


class MemoryLease:
    """Leases in a dictionary.

    Args:
        clock: Any clock in seconds.
        milliseconds: Life of a lease that is not renewed.
        capacity: Most leases; beyond it the least recently used is forgotten.

    """

    def __init__(self, clock: Clock, milliseconds: int = 5000, capacity: int = 100_000) -> None:
        self._clock = clock
        self._seconds = milliseconds / 1000
        self._held = LRUCache[TokenKey, tuple[str, float]](capacity)

    async def acquire(self, key: TokenKey) -> str | None:
        """See `app.ports.Lease.acquire`."""
        if self._holder(key) is not None:
            return None
        holder = secrets.token_hex(16)
        self._held[key] = (holder, self._clock() + self._seconds)
        return holder

    async def renew(self, key: TokenKey, holder: str) -> bool:
        """See `app.ports.Lease.renew`."""
        if self._holder(key) != holder:
            return False
        self._held[key] = (holder, self._clock() + self._seconds)
        return True

    async def release(self, key: TokenKey, holder: str) -> None:
        """See `app.ports.Lease.release`."""
        if self._holder(key) == holder:
            self._held.pop(key, None)

    def _holder(self, key: TokenKey) -> str | None:
        held = self._held.get(key)
        return held[0] if held is not None and self._clock() < held[1] else None
