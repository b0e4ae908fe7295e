"""The shared cache's adapter as one replica has it, with the events it emits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.adapters.redis import RedisClient, RedisLease, RedisLogin, RedisPurgeLog, RedisTls, RedisTokenCache
from app.adapters.redis.client import CALL_TIMEOUT
from app.domain.events import CacheRecordRefused
from app.domain.names import TokenKey
from app.shared_cache.key_ring import KeyRing
from tests.support.cached_tokens import key_ring
from tests.support.recorded_events import RecordedEvents


class RedisReplica:
    """One replica's cache, purge log and lease.

    Args:
        url: URL of Redis.
        ring: Its key ring.
        tls: Its CA bundle, and its client certificate.
        lease_milliseconds: Life of its leases.
        login: Who logs in, where the URL does not say it.
        sentinel_login: Who logs in at the Sentinels.
        timeout: Seconds for one call.

    """

    def __init__(
        self,
        url: str,
        ring: KeyRing | None = None,
        tls: RedisTls | None = None,
        lease_milliseconds: int = 5000,
        login: RedisLogin | None = None,
        sentinel_login: RedisLogin | None = None,
        timeout: float = CALL_TIMEOUT,
    ) -> None:
        self.events = RecordedEvents()
        self.client = RedisClient(url, self.events, tls, login, sentinel_login, timeout=timeout)
        self.ring = ring or key_ring("k1")
        holders: dict[TokenKey, str] = {}
        self.cache = RedisTokenCache(self.client, lambda: self.ring, self.events, holders=holders)
        self.purge_log = RedisPurgeLog(self.client)
        self.lease = RedisLease(self.client, milliseconds=lease_milliseconds, holders=holders)

    @property
    def refused(self) -> list[str]:
        """Why records were refused so far."""
        return [event.reason for event in self.events.all if isinstance(event, CacheRecordRefused)]


@asynccontextmanager
async def redis_replica(url: str, ring: KeyRing | None = None, **options: object) -> AsyncIterator[RedisReplica]:
    """A replica for as long as the context lasts."""
    replica = RedisReplica(url, ring, **options)  # type: ignore[arg-type]  # passed on by name
    try:
        yield replica
    finally:
        await replica.client.aclose()
