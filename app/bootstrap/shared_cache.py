"""The cache that replicas share: Redis, or the memory of this process."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.adapters.memory_cache import (
    MemoryExchangeBudget,
    MemoryLease,
    MemoryLimitShares,
    MemoryPurgeLog,
    MemoryTokenCache,
)
from app.domain.dependency import Dependency
from app.domain.names import TokenKey
from app.ports import Clock, EventSink, ExchangeBudget, Lease, LimitShares, PurgeLog, TokenCache
from app.service.fleet_budget import FleetBudget
from app.settings.settings import Settings
from app.shared_cache.key_ring_in_force import KeyRingInForce


@dataclass(frozen=True, slots=True)
class SharedCache:
    """The shared cache, running.

    Args:
        tokens: Tokens and back-offs.
        purge_log: Purges.
        lease: The lease of the right to exchange for a key.
        budget: How often IMS may be called with one client.
        limits: The callers' limits that all replicas share.
        breaker_open: Whether the circuit breaker of Redis is open; never without Redis.
        dependency: The external system that has it; None for the memory of this process.
        key_ring: What seals the tokens in Redis, to be watched; None without Redis.

    """

    tokens: TokenCache
    purge_log: PurgeLog
    lease: Lease
    budget: ExchangeBudget
    limits: LimitShares
    breaker_open: Callable[[], bool]
    dependency: Dependency | None = None
    key_ring: KeyRingInForce | None = None


@asynccontextmanager
async def shared_cache(settings: Settings, sink: EventSink, clock: Clock) -> AsyncIterator[SharedCache]:
    """Run the shared cache within the context. Redis may be unavailable.

    Raises:
        KeyRingError: The key ring is bad.

    """
    if not settings.redis_url.get_secret_value():
        purge_log = MemoryPurgeLog()
        tokens, lease = MemoryTokenCache(clock, purge_log, time.monotonic), MemoryLease(time.monotonic)
        budget, limits = MemoryExchangeBudget(time.monotonic), MemoryLimitShares(time.monotonic)
        yield SharedCache(tokens, purge_log, lease, budget, limits, lambda: False)
        return
    # Only now, because importing redis-py takes a fifth of the start.
    from app.adapters.redis import (
        RedisExchangeBudget,
        RedisLease,
        RedisLimitShares,
        RedisPurgeLog,
        RedisTokenCache,
    )
    from app.bootstrap.redis_client import redis_client

    assert settings.cache_keys_file is not None  # noqa: S101  # the settings require it
    key_ring = KeyRingInForce(settings.cache_keys_file, sink, clock)
    client = redis_client(settings, sink)
    prefix = settings.redis_prefix
    try:
        await key_ring.load()
        holders: dict[TokenKey, str] = {}
        yield SharedCache(
            RedisTokenCache(client, key_ring.current, sink, prefix, holders),
            RedisPurgeLog(client, prefix),
            RedisLease(client, prefix, holders=holders),
            FleetBudget(RedisExchangeBudget(client, prefix), MemoryExchangeBudget(time.monotonic)),
            RedisLimitShares(client, prefix),
            lambda: client.circuit_is_open,
            "redis",
            key_ring,
        )
    finally:
        await key_ring.aclose()
        await client.aclose()
