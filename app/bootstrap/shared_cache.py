"""The cache that replicas share: Redis, or the memory of this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.adapters.memory_cache import MemoryLease, MemoryPurgeLog, MemoryTokenCache
from app.adapters.redis import (
    RedisClient,
    RedisLease,
    RedisLogin,
    RedisPurgeLog,
    RedisTls,
    RedisTokenCache,
    sealed_counts,
)
from app.ports import Clock, EventSink, Lease, PurgeLog, TokenCache
from app.settings.redis import RedisSettings
from app.settings.settings import Settings
from app.shared_cache.key_ring import load_key_ring

_COUNT_TIMEOUT = 5.0
"""Seconds for one page of keys."""


@dataclass(frozen=True, slots=True)
class SharedCache:
    """The shared cache, running.

    Args:
        tokens: Tokens and back-offs.
        purge_log: Purges.
        lease: The lease of the right to exchange for a key.
        breaker_open: Whether the circuit breaker of Redis is open; never without Redis.

    """

    tokens: TokenCache
    purge_log: PurgeLog
    lease: Lease
    breaker_open: Callable[[], bool]


@asynccontextmanager
async def shared_cache(settings: Settings, sink: EventSink, clock: Clock) -> AsyncIterator[SharedCache]:
    """Run the shared cache within the context. Redis may be unavailable.

    Raises:
        KeyRingError: The key ring is bad.

    """
    url = settings.redis_url.get_secret_value()
    if not url:
        purge_log = MemoryPurgeLog()
        yield SharedCache(MemoryTokenCache(clock, purge_log), purge_log, MemoryLease(time.monotonic), lambda: False)
        return
    assert settings.cache_keys_file is not None  # noqa: S101  # the settings require it
    key_ring = await asyncio.to_thread(load_key_ring, settings.cache_keys_file)
    tls = RedisTls(settings.redis_cacert, settings.redis_cert_file, settings.redis_key_file)
    client = RedisClient(url, sink, tls, redis_login(settings))
    prefix = settings.redis_prefix
    try:
        yield SharedCache(
            RedisTokenCache(client, key_ring, sink, prefix),
            RedisPurgeLog(client, prefix),
            RedisLease(client, prefix),
            lambda: client.circuit_is_open,
        )
    finally:
        await client.aclose()


def redis_login(settings: RedisSettings) -> RedisLogin:
    """User and password for Redis, if the URL does not name them."""
    password = settings.redis_password
    return RedisLogin(
        settings.redis_username,
        None if password is None else password.get_secret_value(),
        settings.redis_password_file,
    )


async def counted_seals(settings: RedisSettings, sink: EventSink) -> Mapping[str, int]:
    """How many tokens in Redis each key of the ring seals, by the id of the key; empty without Redis.

    Raises:
        CacheUnavailableError: Redis does not answer, or does not allow it.

    """
    url = settings.redis_url.get_secret_value()
    if not url:
        return {}
    tls = RedisTls(settings.redis_cacert, settings.redis_cert_file, settings.redis_key_file)
    client = RedisClient(url, sink, tls, redis_login(settings), timeout=_COUNT_TIMEOUT)
    try:
        return await sealed_counts(client, settings.redis_prefix)
    finally:
        await client.aclose()
