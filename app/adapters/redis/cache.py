"""`TokenCache` on Redis."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import cast

from redis.asyncio import Redis

from app.adapters.redis.client import RedisClient
from app.adapters.redis.key_names import DEFAULT_PREFIX, KeyNames
from app.adapters.redis.key_ring import KeyRing
from app.adapters.redis.purges import PurgeFeed
from app.adapters.redis.scripts import DISCARD, HOLD, RAISE_EPOCH, RESTORE_EPOCH, STORE
from app.adapters.redis.sealing import RecordRefusedError, milliseconds, seal, unseal
from app.domain.access_token import AccessToken
from app.domain.errors import CacheUnavailableError
from app.domain.events import CacheRecordRefused
from app.domain.names import CredentialRef, TokenKey
from app.domain.token_record import RECORD_VERSION
from app.ports import MAX_HOLD, CacheEntry, EventSink, StoreOutcome

_EPOCH_KEPT = 72 * 3600 * 1000  # ms; a token lives 48 h at most, so none can outlive the purge that refused it
_COUNTER_DIGITS = 15


class RedisTokenCache:
    """Tokens sealed, epochs and holds in plain, purges as a stream.

    Args:
        client: The connections.
        key_ring: Seals and opens tokens.
        sink: Told of records that were refused.
        prefix: Beginning of all key names.

    """

    def __init__(self, client: RedisClient, key_ring: KeyRing, sink: EventSink, prefix: str = DEFAULT_PREFIX) -> None:
        self._client = client
        self._ring = key_ring
        self._sink = sink
        self._names = KeyNames(prefix)
        self._feed = PurgeFeed(client, self._names.purges)
        self.purges = self._feed.purges
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
        epoch = _counter(epoch_text)
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
                _EPOCH_KEPT,
            ],
        )
        return StoreOutcome(outcome.decode())

    async def raise_epoch(self, ref: CredentialRef, above: int) -> int:
        """See `app.ports.TokenCache.raise_epoch`. An error after the first step leaves the epoch raised but untold."""
        raised = int(await self._client.run("raise_epoch", RAISE_EPOCH, [self._names.epoch(ref)], [above, _EPOCH_KEPT]))
        await self._feed.announce(ref, raised)
        return raised

    async def hold(self, ref: CredentialRef, seconds: float) -> None:
        """See `app.ports.TokenCache.hold`. Never shortens a hold; `MAX_HOLD` at most."""
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

    async def epochs(self, refs: Sequence[CredentialRef]) -> Sequence[int]:
        """See `app.ports.TokenCache.epochs`. One round trip; a key of another type reads as nothing."""
        names = [self._names.epoch(ref) for ref in refs]
        texts = cast("list[bytes | None]", await self._client.call("epochs", lambda redis: redis.mget(names)))
        return [_counter(text) for text in texts]

    async def restore_epoch(self, ref: CredentialRef, epoch: int) -> None:
        """See `app.ports.TokenCache.restore_epoch`."""
        if await self._client.run("restore_epoch", RESTORE_EPOCH, [self._names.epoch(ref)], [epoch, _EPOCH_KEPT]):
            await self._feed.announce(ref, epoch)

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


def _counter(text: bytes | None) -> int:
    """A purge counter; a value that is not a number counts as lost, as after a flush."""
    return int(text) if text is not None and len(text) <= _COUNTER_DIGITS and text.isdigit() else 0
