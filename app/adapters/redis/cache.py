"""`TokenCache` on Redis."""

from __future__ import annotations

from contextlib import suppress

from redis.asyncio import Redis

from app.adapters.redis.client import RedisClient
from app.adapters.redis.purge_log import EPOCH_KEPT, counter
from app.adapters.redis.scripts import DISCARD, HOLD, STORE
from app.domain.access_token import AccessToken
from app.domain.cache_entry import MAX_HOLD, CacheEntry, StoreOutcome
from app.domain.dependency_errors import CacheUnavailableError
from app.domain.events import CacheRecordRefused
from app.domain.names import CredentialRef, TokenKey
from app.domain.token_record import RECORD_VERSION
from app.ports import EventSink
from app.shared_cache.key_names import DEFAULT_PREFIX, KeyNames
from app.shared_cache.key_ring import KeyRing
from app.shared_cache.sealing import RecordRefusedError, milliseconds, seal, unseal


class RedisTokenCache:
    """Tokens sealed; epochs and back-offs in plain text.

    Args:
        client: The connections.
        key_ring: Seals and opens tokens.
        sink: Notified of records that were refused.
        prefix: Beginning of all key names.

    """

    def __init__(self, client: RedisClient, key_ring: KeyRing, sink: EventSink, prefix: str = DEFAULT_PREFIX) -> None:
        self._client = client
        self._ring = key_ring
        self._sink = sink
        self._names = KeyNames(prefix)
        self._known_ids = f",{','.join(key_ring.ids)},"

    async def read(self, key: TokenKey) -> CacheEntry:
        """See `app.ports.TokenCache.read`. One round trip."""
        token_name = self._names.token(key)
        epoch_name, hold_name = self._names.epoch(key.ref), self._names.hold(key.ref)

        async def fetch(redis: Redis) -> tuple[bytes | None, bytes | None, int]:
            async with redis.pipeline(transaction=False) as pipeline:
                pipeline.mget(token_name, epoch_name)  # a key of another type reads as nothing
                pipeline.pttl(hold_name)
                (stored, epoch), hold = await pipeline.execute()
                return stored, epoch, hold

        stored, epoch_text, hold_ms = await self._client.call("read", fetch)
        epoch = counter(epoch_text)
        hold = min(max(hold_ms, 0) / 1000, MAX_HOLD)
        token = None if stored is None else await self._open(stored, token_name, key)
        if token is None or token.epoch < epoch:
            return CacheEntry(None, epoch, hold)
        # The counter was lost, but the token proves how far it had come.
        return CacheEntry(token, token.epoch, hold)

    async def store(self, token: AccessToken, replacing: AccessToken | None = None) -> StoreOutcome:
        """See `app.ports.TokenCache.store`. One script."""
        name = self._names.token(token.key)
        replaced = ("", "") if replacing is None else (milliseconds(replacing.expires_at), replacing.epoch)
        outcome: bytes = await self._client.run(
            "store",
            STORE,
            [name, self._names.epoch(token.key.ref)],
            [
                seal(token, self._ring, name),
                milliseconds(token.expires_at),
                token.epoch,
                RECORD_VERSION,
                self._known_ids,
                *replaced,
                EPOCH_KEPT,
            ],
        )
        return StoreOutcome(outcome.decode())

    async def hold(self, ref: CredentialRef, seconds: float) -> None:
        """See `app.ports.TokenCache.hold`. It never shortens a back-off, and bounds it by `MAX_HOLD`."""
        duration = milliseconds(min(seconds, MAX_HOLD))
        if duration > 0:
            await self._client.run("hold", HOLD, [self._names.hold(ref)], [duration])

    async def claim_replacement(self, ref: CredentialRef, window: float) -> bool:
        """See `app.ports.TokenCache.claim_replacement`."""
        name, duration = self._names.replaced(ref), max(1, milliseconds(window))
        claimed = await self._client.call("claim", lambda redis: redis.set(name, b"1", nx=True, px=duration))
        return bool(claimed)

    async def return_replacement(self, ref: CredentialRef) -> None:
        """See `app.ports.TokenCache.return_replacement`."""
        await self._client.call("return", lambda redis: redis.delete(self._names.replaced(ref)))

    async def _open(self, stored: bytes, name: str, key: TokenKey) -> AccessToken | None:
        try:
            return unseal(stored, self._ring, name, key)
        except RecordRefusedError as refused:
            self._sink.emit(CacheRecordRefused(key, refused.reason))
            if refused.worthless:
                # Only if it is still the same value: another replica may have stored a good one by now.
                with suppress(CacheUnavailableError):
                    await self._client.run("discard", DISCARD, [name], [stored])
            return None
