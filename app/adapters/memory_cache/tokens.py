"""`TokenCache` in one process."""

from __future__ import annotations

from cachetools import LRUCache

from app.adapters.memory_cache.purge_log import MemoryPurgeLog
from app.domain.access_token import AccessToken
from app.domain.cache_entry import MAX_HOLD, CacheEntry, StoreOutcome
from app.domain.names import CredentialRef, TokenKey
from app.ports import Clock


class MemoryTokenCache:
    """Tokens, holds and replacements in dictionaries.

    Tokens have no bound per credential here. `app.service.memory.TokenMemory` of the same process has one, is asked
    first, and holds more: if the sets of scopes of one credential push others out here, those are still served there.

    Args:
        clock: Unix time in seconds.
        purge_log: The epochs that decide which tokens are current.
        capacity: Most entries of each kind; beyond it the least recently used is forgotten.

    """

    def __init__(self, clock: Clock, purge_log: MemoryPurgeLog, capacity: int = 100_000) -> None:
        self._clock = clock
        self._purge_log = purge_log
        self._tokens = LRUCache[TokenKey, AccessToken](capacity)
        self._holds = LRUCache[CredentialRef, float](capacity)
        self._replaced = LRUCache[CredentialRef, float](capacity)

    async def read(self, key: TokenKey) -> CacheEntry:
        """See `app.ports.TokenCache.read`."""
        now = self._clock()
        epoch = self._purge_log.epoch(key.ref)
        hold = max(0.0, (self._holds.get(key.ref) or 0.0) - now)
        token = self._tokens.get(key)
        if token is not None and token.expires_at <= now:
            self._tokens.pop(key, None)
            token = None
        if token is None or token.epoch < epoch:
            return CacheEntry(None, epoch, hold)
        return CacheEntry(token, token.epoch, hold)

    async def store(self, token: AccessToken, replacing: AccessToken | None = None) -> StoreOutcome:
        """See `app.ports.TokenCache.store`."""
        if self._purge_log.epoch(token.key.ref) > token.epoch:
            return StoreOutcome.STALE_EPOCH
        there = self._tokens.get(token.key)
        if there is not None and not _may_replace(there, token, replacing):
            return StoreOutcome.OLDER
        if token.epoch > 0:
            self._purge_log.learn(token.key.ref, token.epoch)
        self._tokens[token.key] = token
        return StoreOutcome.STORED

    async def hold(self, ref: CredentialRef, seconds: float) -> None:
        """See `app.ports.TokenCache.hold`. It never shortens a back-off, and bounds it by `MAX_HOLD`."""
        until = self._clock() + min(seconds, MAX_HOLD)
        if until > (self._holds.get(ref) or self._clock()):
            self._holds[ref] = until

    async def claim_replacement(self, ref: CredentialRef, window: float) -> bool:
        """See `app.ports.TokenCache.claim_replacement`."""
        now = self._clock()
        if now < (self._replaced.get(ref) or 0.0):
            return False
        self._replaced[ref] = now + window
        return True

    async def return_replacement(self, ref: CredentialRef) -> None:
        """See `app.ports.TokenCache.return_replacement`."""
        self._replaced.pop(ref, None)


def _may_replace(there: AccessToken, token: AccessToken, replacing: AccessToken | None) -> bool:
    """Whether `token` may take the place of `there`."""
    if there.epoch != token.epoch:
        return there.epoch < token.epoch
    # Whole milliseconds, as in Redis, so that both caches decide the same.
    its_expiry = int(there.expires_at * 1000)
    replaced = replacing is not None and (int(replacing.expires_at * 1000), replacing.epoch) == (
        its_expiry,
        there.epoch,
    )
    return replaced or its_expiry < int(token.expires_at * 1000)
