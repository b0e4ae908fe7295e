"""Counts the sealed tokens in Redis by the key that seals them, without opening any."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

from app.adapters.redis.client import RedisClient
from app.adapters.redis.commands import Command
from app.settings.redis_address import Endpoint
from app.shared_cache.sealing import sealed_by

_PAGE = 500
_HEADER_BYTES = 64


async def sealed_counts(client: RedisClient, prefix: str) -> Counter[str]:
    """How many tokens each key seals, by the id of the key. Walks through all keys of each primary, a page at a time.

    Args:
        client: Makes the calls. The user needs ``SCAN`` and ``GETRANGE``, which the broker's does not have.
        prefix: Beginning of all key names.

    Raises:
        CacheUnavailableError: Redis does not answer, or does not allow it.

    """
    counts = Counter[str]()
    for primary in await client.primaries("count"):
        async for headers in _pages(client, primary, prefix):
            counts.update(key_id for header in headers if (key_id := sealed_by(header)) is not None)
    return counts


async def _pages(client: RedisClient, primary: Endpoint, prefix: str) -> AsyncIterator[list[bytes]]:
    cursor = 0
    while True:
        scan: Command = ("SCAN", cursor, "MATCH", f"{prefix}:*:token:*", "COUNT", _PAGE)
        [(cursor, names)] = await client.call_at("count", primary, scan)
        if names:
            yield await client.call_at("count", primary, *(("GETRANGE", name, 0, _HEADER_BYTES) for name in names))
        if cursor == 0:
            return
