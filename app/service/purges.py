"""Listens for purges of other replicas, and tells the shared cache of those it has missed."""

from __future__ import annotations

import asyncio
import contextlib

from app.domain.errors import CacheUnavailableError
from app.ports import TokenCache
from app.service.vend import TokenVendor

RETRY_SECONDS = 0.5


async def listen_for_purges(cache: TokenCache, vendor: TokenVendor) -> None:
    """Follow the shared cache's purges and settle what is owed to it, for ever.

    Two tasks, for a purge can be owed while the connection that listens is sound: the one that told it was not.
    """
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_follow(cache, vendor))
        tasks.create_task(_settle(vendor))


async def _follow(cache: TokenCache, vendor: TokenVendor) -> None:
    """A lost connection is taken up again where it broke."""
    while True:
        with contextlib.suppress(CacheUnavailableError):
            async for purge in cache.purges():
                vendor.purged_elsewhere(purge)
        await asyncio.sleep(RETRY_SECONDS)


async def _settle(vendor: TokenVendor) -> None:
    while True:
        with contextlib.suppress(CacheUnavailableError):
            await vendor.settle_purges()
        await asyncio.sleep(RETRY_SECONDS)
