"""The turn to exchange: a lease that is renewed while its holder works."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from enum import Enum
from functools import partial
from typing import Any

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
        renewal = _Renewal(self._renewal_seconds, partial(self._renew, key, holder))
        try:
            yield Turn.OURS
        finally:
            await renewal.aclose()
            await self._release(key, holder)

    async def _renew(self, key: TokenKey, holder: str) -> None:
        for _ in range(int(LONGEST_TURN_SECONDS / self._renewal_seconds)):
            try:
                if not await self._lease.renew(key, holder):
                    return
            except CacheUnavailableError:
                pass
            await asyncio.sleep(self._renewal_seconds)

    async def _release(self, key: TokenKey, holder: str) -> None:
        try:
            await self._lease.release(key, holder)
        except CacheUnavailableError:
            return  # It expires within seconds.


class _Renewal:
    """The task that renews a lease. Most exchanges end before it has to begin: those cost a timer, and no task.

    Args:
        delay: Seconds until it begins.
        renew: Renews the lease until it is cancelled.

    """

    def __init__(self, delay: float, renew: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._task: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(delay, self._begin, renew)

    async def aclose(self) -> None:
        """End it, and wait for its end."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _begin(self, renew: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._task = asyncio.create_task(renew(), name="lease-renewal")
