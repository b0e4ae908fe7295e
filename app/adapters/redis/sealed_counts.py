"""Counts the sealed tokens in Redis by the key that seals them, without opening any."""

from __future__ import annotations

import re
from collections import Counter
from functools import partial

from redis.asyncio import Redis

from app.adapters.redis.client import RedisClient

_PAGE = 500
_HEADER_BYTES = 64
_HEADER = re.compile(rb"itb[0-9]{1,4};([a-z0-9]{1,16});")


async def sealed_counts(client: RedisClient, prefix: str) -> Counter[str]:
    """How many tokens each key seals, by the id of the key. Walks through all keys, a page at a time.

    Args:
        client: Makes the calls. The user needs ``SCAN`` and ``GETRANGE``, which the broker's does not have.
        prefix: Beginning of all key names.

    Raises:
        CacheUnavailableError: Redis does not answer, or does not allow it.

    """
    counts = Counter[str]()
    cursor = 0
    while True:
        cursor, headers = await client.call("count", partial(_page, prefix, cursor))
        counts.update(found[1].decode() for header in headers if (found := _HEADER.match(header)))
        if cursor == 0:
            return counts


async def _page(prefix: str, cursor: int, redis: Redis) -> tuple[int, list[bytes]]:
    following, names = await redis.scan(cursor, match=f"{prefix}:*:token:*", count=_PAGE)
    pipeline = redis.pipeline(transaction=False)
    for name in names:
        pipeline.getrange(name, 0, _HEADER_BYTES)
    return int(following), [bytes(header) for header in await pipeline.execute()]
