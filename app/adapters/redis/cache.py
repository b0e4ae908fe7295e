"""`TokenCache` on Redis."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from app.adapters.redis.call_failure import ForeignValueError
from app.adapters.redis.client import RedisClient
from app.adapters.redis.epoch_counter import LONGEST_COUNTER, counter
from app.adapters.redis.lease import Holders
from app.adapters.redis.purge_log import EPOCH_KEPT
from app.adapters.redis.scripts import CLAIM, DISCARD, DISCARD_LONG, HOLD, LONGEST_VALUE, RESEAL, STORE, Script
from app.domain.access_token import AccessToken
from app.domain.cache_entry import MAX_HOLD, CacheEntry, StoreOutcome
from app.domain.dependency_errors import CacheUnavailableError
from app.domain.events import CacheRecordRefused
from app.domain.names import CredentialRef, TokenKey
from app.domain.token_record import RECORD_VERSION
from app.ports import EventSink
from app.shared_cache.key_names import DEFAULT_PREFIX, KeyNames
from app.shared_cache.key_ring import KeyRing
from app.shared_cache.sealing import RecordRefusedError, milliseconds, seal, sealed_by, unseal


class RedisTokenCache:
    """Tokens sealed; epochs and back-offs in plain text.

    Args:
        client: The connections.
        key_ring: The key ring in force, which seals and opens tokens. It is asked at each use, because it may change.
        sink: Notified of records that were refused.
        prefix: Beginning of all key names.
        holders: The leases that this replica has taken. Storing a token gives back the one of its key.

    """

    def __init__(
        self,
        client: RedisClient,
        key_ring: Callable[[], KeyRing],
        sink: EventSink,
        prefix: str = DEFAULT_PREFIX,
        holders: Holders | None = None,
    ) -> None:
        self._client = client
        self._ring = key_ring
        self._sink = sink
        self._names = KeyNames(prefix)
        self._holders: Holders = {} if holders is None else holders

    async def read(self, key: TokenKey) -> CacheEntry:
        """See `app.ports.TokenCache.read`. One command, and one more if the token is sealed again."""
        name = self._names.token(key)
        names = (name, self._names.epoch(key.ref), self._names.hold(key.ref))
        try:
            token_state, epoch_state, hold_state = await self._client.states("read", names)
        except ForeignValueError:
            self._sink.emit(CacheRecordRefused(key, "integrity"))
            with suppress(CacheUnavailableError):
                for found, longest in zip(names, (LONGEST_VALUE, LONGEST_COUNTER, LONGEST_COUNTER), strict=True):
                    await self._client.run("discard", DISCARD_LONG, [found], [longest])
            return CacheEntry(None, 0)
        stored, epoch = token_state.value, counter(epoch_state.value)
        hold = hold_state.left / 1000 if 0 < hold_state.left <= MAX_HOLD * 1000 else 0.0  # a longer one is not ours
        ring = self._ring()
        token = None if stored is None else await self._open(stored, ring, name, key)
        if token is None or token.epoch < epoch:
            return CacheEntry(None, epoch, hold)
        if stored is not None and ring.is_outdated(sealed_by(stored) or ""):
            await self._if_unchanged("reseal", RESEAL, name, stored, seal(token, ring, name))
        # The counter was lost, but the token proves how far it had come.
        return CacheEntry(token, token.epoch, hold, token_state.left / 1000 if token_state.left >= 0 else None)

    async def store(self, token: AccessToken, replacing: AccessToken | None = None) -> StoreOutcome:
        """See `app.ports.TokenCache.store`. One script."""
        key, name = token.key, self._names.token(token.key)
        names = [name, self._names.epoch(key.ref)]
        replaced = ("", "") if replacing is None else (milliseconds(replacing.expires_at), replacing.epoch)
        sealed, expiry = seal(token, self._ring(), name), milliseconds(token.expires_at)
        values: list[bytes | str | int] = [sealed, expiry, token.epoch, RECORD_VERSION, *replaced, EPOCH_KEPT]
        holder = self._holders.get(key)
        if holder:
            names.append(self._names.lease(key))
            values.append(holder)
        outcome: bytes = await self._client.run("store", STORE, names, values)
        if holder and self._holders.get(key) == holder:
            self._holders[key] = ""
        return StoreOutcome(outcome.decode())

    async def hold(self, ref: CredentialRef, seconds: float) -> None:
        """See `app.ports.TokenCache.hold`. It never shortens a back-off, and bounds it by `MAX_HOLD`."""
        duration = milliseconds(min(seconds, MAX_HOLD))
        if duration > 0:
            await self._client.run("hold", HOLD, [self._names.hold(ref)], [duration])

    async def claim_replacement(self, ref: CredentialRef, window: float) -> bool:
        """See `app.ports.TokenCache.claim_replacement`."""
        name, duration = self._names.replaced(ref), max(1, milliseconds(window))
        return bool(await self._client.run("claim", CLAIM, [name], [duration]))

    async def return_replacement(self, ref: CredentialRef) -> None:
        """See `app.ports.TokenCache.return_replacement`."""
        name = self._names.replaced(ref)
        await self._client.call("return", name, ("DEL", name))

    async def _open(self, stored: bytes, ring: KeyRing, name: str, key: TokenKey) -> AccessToken | None:
        try:
            return unseal(stored, ring, name, key)
        except RecordRefusedError as refused:
            self._sink.emit(CacheRecordRefused(key, refused.reason))
            if refused.worthless:
                await self._if_unchanged("discard", DISCARD, name, stored)
            return None

    async def _if_unchanged(self, operation: str, script: Script, name: str, stored: bytes, *values: bytes) -> None:
        """Change a value only if it is still the one that was read: another replica may have stored a better one."""
        with suppress(CacheUnavailableError):
            await self._client.run(operation, script, [name], [stored, *values])
