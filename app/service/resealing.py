"""Lets the shared cache follow the key ring: the tokens in memory are read from it once after another key seals.

A warm replica reads no token from the shared cache until the next refresh, up to half of a day later. Without this, an
old key could not be retired before that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from app.domain.dependency_errors import CacheUnavailableError
from app.domain.names import TokenKey
from app.ports import TokenCache
from app.service.memory import TokenMemory

PACE_SECONDS = 0.002
"""Between two reads: 200,000 tokens take some minutes, and Redis has time for requests."""

RETRY_SECONDS = 1.0
"""Until the same token is tried again while the shared cache is unavailable."""


class Resealing:
    """Reads each token of the memory once per change of the sealing key: the shared cache seals again what it reads.

    Args:
        memory: The tokens of this replica.
        cache: The shared cache.
        another_seals: Waits until a change of the key ring lets another key seal.
        sleep: Waits some seconds.

    """

    def __init__(
        self,
        memory: TokenMemory,
        cache: TokenCache,
        another_seals: Callable[[], Awaitable[None]],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._memory = memory
        self._cache = cache
        self._another_seals = another_seals
        self._sleep = sleep

    async def run(self) -> None:
        """Follow the changes forever."""
        while True:
            await self._another_seals()
            for ref in self._memory.refs():
                for token in self._memory.tokens_of(ref):
                    await self._read(token.key)
                    await self._sleep(PACE_SECONDS)

    async def _read(self, key: TokenKey) -> None:
        while True:
            try:
                await self._cache.read(key)
            except CacheUnavailableError:
                await self._sleep(RETRY_SECONDS)
            else:
                return
