"""`LimitShares` in one process: without Redis a replica shares its limits with no other one."""

from __future__ import annotations

from collections.abc import Mapping

from cachetools import LRUCache

from app.domain.fleet_limit import REPLICA_SECONDS, FleetLimit, LeaseHistory, ShareClaim, Shares
from app.ports import Clock


class MemoryLimitShares:
    """Buckets in a dictionary.

    Args:
        monotonic: A clock in seconds that never steps.
        capacity: The most callers; beyond it the least recently used is evicted.

    """

    def __init__(self, monotonic: Clock, capacity: int = 100_000) -> None:
        self._monotonic = monotonic
        self._limits = LRUCache[str, FleetLimit](capacity)
        self._seen: dict[str, float] = {}

    async def lease(self, replica: str, claims: Mapping[str, ShareClaim]) -> Shares:
        """See `app.ports.LimitShares.lease`."""
        now = self._monotonic()
        self._seen = {who: at for who, at in self._seen.items() if now - at <= REPLICA_SECONDS} | {replica: now}
        replicas = len(self._seen)
        grants = {
            name: self._limit(name, claim, now).lease(replica, claim, now, replicas) for name, claim in claims.items()
        }
        return Shares(replicas, grants)

    def _limit(self, name: str, claim: ShareClaim, now: float) -> FleetLimit:
        limit = self._limits.get(name)
        if limit is None:
            level = claim.limit.requests if claim.history is LeaseHistory.NONE else 0.0
            limit = self._limits[name] = FleetLimit(level, now)
        return limit
