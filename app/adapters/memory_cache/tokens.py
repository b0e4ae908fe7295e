"""`TokenCache` and `Lease` in one process, for a broker without Redis. It keeps the contract, bounded in size."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Sequence

from cachetools import LRUCache

from app.domain.access_token import AccessToken
from app.domain.names import CredentialRef, TokenKey
from app.ports import MAX_HOLD, CacheEntry, Clock, Purge, StoreOutcome

_MAX_PURGES = 10_000


class MemoryTokenCache:
    """Tokens, epochs, holds and replacements in dictionaries.

    Args:
        clock: Unix time in seconds.
        capacity: Most entries of each sort; beyond it the least recently used is forgotten.

    """

    def __init__(self, clock: Clock, capacity: int = 100_000) -> None:
        self._clock = clock
        self._tokens = LRUCache[TokenKey, AccessToken](capacity)
        self._epochs = LRUCache[CredentialRef, int](capacity)
        self._holds = LRUCache[CredentialRef, float](capacity)
        self._replaced = LRUCache[CredentialRef, float](capacity)
        self._purges: deque[Purge] = deque(maxlen=_MAX_PURGES)
        self._purge_count = 0
        self._position: int | None = None
        self._purged = asyncio.Event()

    async def read(self, key: TokenKey) -> CacheEntry:
        """See `app.ports.TokenCache.read`."""
        now = self._clock()
        epoch = self._epochs.get(key.ref) or 0
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
        if (self._epochs.get(token.key.ref) or 0) > token.epoch:
            return StoreOutcome.STALE_EPOCH
        there = self._tokens.get(token.key)
        if there is not None and not _may_replace(there, token, replacing):
            return StoreOutcome.OLDER
        if token.epoch > 0:
            self._epochs[token.key.ref] = token.epoch
        self._tokens[token.key] = token
        return StoreOutcome.STORED

    async def raise_epoch(self, ref: CredentialRef, above: int) -> int:
        """See `app.ports.TokenCache.raise_epoch`."""
        epoch = max(self._epochs.get(ref) or 0, above) + 1
        self._announce(ref, epoch)
        return epoch

    async def hold(self, ref: CredentialRef, seconds: float) -> None:
        """See `app.ports.TokenCache.hold`. Never shortens a hold; `MAX_HOLD` at most."""
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

    async def epochs(self, refs: Sequence[CredentialRef]) -> Sequence[int]:
        """See `app.ports.TokenCache.epochs`."""
        return [self._epochs.get(ref) or 0 for ref in refs]

    async def restore_epoch(self, ref: CredentialRef, epoch: int) -> None:
        """See `app.ports.TokenCache.restore_epoch`."""
        if epoch > (self._epochs.get(ref) or 0):
            self._announce(ref, epoch)

    async def purges(self) -> AsyncIterator[Purge]:
        """Purges since the end of the last iteration, and at the first one since now; then as they happen."""
        position = self._purge_count if self._position is None else self._position
        while True:
            self._position = position
            purged = self._purged
            if self._purge_count - position > len(self._purges):
                position = self._purge_count
                yield Purge(None, 0)
            elif position < self._purge_count:
                purge = self._purges[position - self._purge_count]
                position += 1
                self._position = position
                yield purge
            else:
                await purged.wait()

    def _announce(self, ref: CredentialRef, epoch: int) -> None:
        self._epochs[ref] = epoch
        self._purges.append(Purge(ref, epoch))
        self._purge_count += 1
        self._purged.set()
        self._purged = asyncio.Event()


def _may_replace(there: AccessToken, token: AccessToken, replacing: AccessToken | None) -> bool:
    """Whether `token` may take the place of `there`."""
    if there.epoch != token.epoch:
        return there.epoch < token.epoch
    # Whole milliseconds, as in Redis, so that both caches decide alike.
    its_expiry = int(there.expires_at * 1000)
    replaced = replacing is not None and (int(replacing.expires_at * 1000), replacing.epoch) == (
        its_expiry,
        there.epoch,
    )
    return replaced or its_expiry < int(token.expires_at * 1000)


class MemoryLease:
    """Leases in a dictionary. One process has one flight per key, so it is there for the contract's sake.

    Args:
        clock: Any clock in seconds.
        milliseconds: Life of a lease that is not renewed.

    """

    def __init__(self, clock: Clock, milliseconds: int = 5000, capacity: int = 100_000) -> None:
        self._clock = clock
        self._seconds = milliseconds / 1000
        self._held = LRUCache[TokenKey, tuple[str, float]](capacity)

    async def acquire(self, key: TokenKey) -> str | None:
        """See `app.ports.Lease.acquire`."""
        if self._holder(key) is not None:
            return None
        holder = secrets.token_hex(16)
        self._held[key] = (holder, self._clock() + self._seconds)
        return holder

    async def renew(self, key: TokenKey, holder: str) -> bool:
        """See `app.ports.Lease.renew`."""
        if self._holder(key) != holder:
            return False
        self._held[key] = (holder, self._clock() + self._seconds)
        return True

    async def release(self, key: TokenKey, holder: str) -> None:
        """See `app.ports.Lease.release`."""
        if self._holder(key) == holder:
            self._held.pop(key, None)

    def _holder(self, key: TokenKey) -> str | None:
        held = self._held.get(key)
        return held[0] if held is not None and self._clock() < held[1] else None
