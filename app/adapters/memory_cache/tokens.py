"""`TokenCache` in one process."""

from __future__ import annotations

from dataclasses import dataclass

from cachetools import LRUCache

from app.adapters.memory_cache.purge_log import MemoryPurgeLog
from app.domain.access_token import MAX_TOKEN_MEMORY, AccessToken
from app.domain.cache_entry import MAX_HOLD, CacheEntry, StoreOutcome
from app.domain.names import CredentialRef, TokenKey
from app.ports import Clock


@dataclass(frozen=True, slots=True)
class _Kept:
    """A token, and its end in seconds of the steady clock."""

    token: AccessToken
    ends: float


class MemoryTokenCache:
    """Tokens, holds and replacements in dictionaries.

    Tokens have no bound per credential here. `app.service.memory.TokenMemory` of the same process has one, is asked
    first, and holds more: if the sets of scopes of one credential push others out here, those are still served there.

    Args:
        clock: Unix time in seconds.
        purge_log: The epochs that decide which tokens are current.
        steady: Seconds of a clock that is never stepped: a clock that is set back gives no token a longer life.
        capacity: Most holds, and most replacements; beyond it the least recently used is forgotten.
        token_bytes: Bytes of memory for tokens. `TokenMemory` has most of them, too, and shares them.

    """

    def __init__(
        self,
        clock: Clock,
        purge_log: MemoryPurgeLog,
        steady: Clock,
        capacity: int = 100_000,
        token_bytes: int = MAX_TOKEN_MEMORY,
    ) -> None:
        self._clock = clock
        self._purge_log = purge_log
        self._steady = steady
        self._tokens = LRUCache[TokenKey, _Kept](token_bytes, getsizeof=lambda kept: kept.token.memory_bytes)
        self._holds = LRUCache[CredentialRef, float](capacity)
        self._replaced = LRUCache[CredentialRef, float](capacity)

    async def read(self, key: TokenKey) -> CacheEntry:
        """See `app.ports.TokenCache.read`."""
        now = self._clock()
        epoch = self._purge_log.epoch(key.ref)
        hold = max(0.0, (self._holds.get(key.ref) or 0.0) - now)
        kept = self._tokens.get(key)
        remaining = 0.0 if kept is None else self._remaining(kept)
        if remaining <= 0:
            self._tokens.pop(key, None)
        elif kept is not None and kept.token.epoch >= epoch:
            return CacheEntry(kept.token, kept.token.epoch, hold, remaining)
        return CacheEntry(None, epoch, hold)

    async def store(self, token: AccessToken, replacing: AccessToken | None = None) -> StoreOutcome:
        """See `app.ports.TokenCache.store`."""
        if self._purge_log.epoch(token.key.ref) > token.epoch:
            return StoreOutcome.STALE_EPOCH
        there = self._tokens.get(token.key)
        if there is not None and self._remaining(there) > 0 and not _may_replace(there.token, token, replacing):
            return StoreOutcome.OLDER
        if token.epoch > 0:
            self._purge_log.learn(token.key.ref, token.epoch)
        self._tokens[token.key] = _Kept(token, self._steady() + token.expires_at - self._clock())
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

    def _remaining(self, kept: _Kept) -> float:
        return min(kept.token.expires_at - self._clock(), kept.ends - self._steady())


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
