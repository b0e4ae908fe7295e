"""One exchange across all replicas: look in the shared cache, take the lease, look again, mint, store.

The lease is an efficiency lock: two exchanges at once are waste, never corruption, for IMS keeps old tokens valid.
What must be right is the write, and that is the shared cache's: only a later expiry of the current epoch gets in.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

from cachetools import LRUCache

from app.domain.access_token import AccessToken, TokenState
from app.domain.decision import Tier
from app.domain.errors import CacheUnavailableError, ImsUnavailableError, OverloadedError
from app.domain.events import CacheLookedUp
from app.domain.names import CredentialRef, TokenKey
from app.ports import MAX_HOLD, Clock, EventSink, Lease, StoreOutcome, TokenCache
from app.service.epochs import Epochs
from app.service.lease_turn import LeaseTurns
from app.service.mint import Minter

POLL_SECONDS = (0.05, 0.15)
"""Those who wait for another replica look this often, each time drawn anew, so that they do not march in step."""

FLIGHT_SECONDS = 14.0
"""Longest time for all of it; under the 15 s that a request may take."""

MAX_MINTS = 4
"""How often one flight mints anew because a purge overtook it, before it gives up."""

REPLACEMENT_SECONDS = 60.0
"""A reported token is replaced at most once in this time, per credential (product section 3)."""

MAX_HELD = 10_000
"""Credentials whose hold is remembered here too, beside the shared cache."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a token must be for this flight.

    Args:
        lives_until: Unix time in seconds it must reach.
        fresh: Whether one past its `refresh_at` will not do.
        replacing: A token that Adobe refused: it will not do, and may be replaced once in a while only.
        alone: Whether to skip the shared cache, because it has not yet been told of a purge made here.

    """

    lives_until: float = 0.0
    fresh: bool = False
    replacing: AccessToken | None = None
    alone: bool = False

    def met_by(self, token: AccessToken, now: float) -> bool:
        """Whether `token` will do at `now`."""
        state = token.state(now)
        return (
            state is not TokenState.EXPIRED
            and (state is TokenState.FRESH or not self.fresh)
            and token.expires_at >= self.lives_until
            and (self.replacing is None or token.sha256 != self.replacing.sha256)
        )


@dataclass(frozen=True, slots=True)
class Obtained:
    """A token and where it came from."""

    token: AccessToken
    tier: Tier


class SharedExchange:
    """Obtains tokens so that all replicas together exchange once.

    Args:
        cache: What replicas share.
        lease: The right to exchange.
        minter: Makes a new token.
        epochs: What is known of purges.
        sink: Listens to events.
        clock: Unix time in seconds.
        draw: Uniform random float between two bounds.

    """

    def __init__(
        self,
        cache: TokenCache,
        lease: Lease,
        minter: Minter,
        epochs: Epochs,
        sink: EventSink,
        clock: Clock,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._cache = cache
        self._turns = LeaseTurns(lease)
        self._minter = minter
        self._epochs = epochs
        self._sink = sink
        self._clock = clock
        self._draw = draw
        # IMS' wishes to be left alone, kept here too for when the shared cache is away: Unix time in seconds.
        self._held_until = LRUCache[CredentialRef, float](MAX_HELD)

    async def obtain(self, key: TokenKey, need: Need) -> Obtained:
        """A token that meets `need`, or the reported one as it is, where it may not be replaced yet.

        Raises:
            BrokerError: What the minting raised; or `ImsUnavailableError` when all took too long.

        """
        try:
            async with asyncio.timeout(FLIGHT_SECONDS):
                return await self._obtain(key, need)
        except TimeoutError:
            raise ImsUnavailableError("No token could be minted in time.", retry_after=2.0) from None

    async def _obtain(self, key: TokenKey, need: Need) -> Obtained:
        found = await self._look(key, need, self._sink)
        mints = 0
        while found is None and mints < MAX_MINTS:
            async with nullcontext() if need.alone else self._turns.take(key) as ours:
                # Look again: the one who had the lease before us may have stored what we need.
                found = await self._look(key, need) if ours else None
                if found is None and ours is not False:
                    mints += 1
                    found = await self._exchange(key, need)
            if found is None:
                await asyncio.sleep(self._draw(*POLL_SECONDS))
                found = await self._look(key, need)
        if found is None:
            raise OverloadedError("The token was purged again and again while it was minted.")
        return found

    async def _look(self, key: TokenKey, need: Need, sink: EventSink | None = None) -> Obtained | None:
        """What the shared cache has; `sink` is told of the first look alone, for the others only wait."""
        held = self._held_until.get(key.ref, 0.0) - self._clock()
        if held > MAX_HOLD:  # The clock was set back.
            held = 0.0
        if need.alone:
            _refuse_while_held(held)
            return None
        try:
            entry = await self._cache.read(key)
        except CacheUnavailableError:
            if sink is not None:
                sink.emit(CacheLookedUp("shared", "unavailable"))
            _refuse_while_held(held)
            return None
        self._epochs.learn(key.ref, entry.epoch)
        token = entry.token
        will_do = token is not None and self._epochs.allows(token) and need.met_by(token, self._clock())
        if sink is not None:
            sink.emit(CacheLookedUp("shared", "hit" if will_do else "miss"))
        if token is not None and will_do:
            return Obtained(token, "shared")
        _refuse_while_held(entry.hold)
        return None

    async def _exchange(self, key: TokenKey, need: Need) -> Obtained | None:
        """Mint and store; None where a purge overtook the minting, so that it must begin anew."""
        claimed = None if need.replacing is None else await self._claim_replacement(key)
        if need.replacing is not None and claimed is False:
            return Obtained(need.replacing, "shared")
        try:
            token = await self._minter.mint(key, self._epochs.of(key.ref))
        except BaseException as error:
            if isinstance(error, ImsUnavailableError) and error.throttled:
                await self._hold(key, error.retry_after)
            if claimed:  # Else what stands there may be another replica's.
                await self._give_back_replacement(key)
            raise
        outcome = None if need.alone else await self._store(token, need.replacing)
        if outcome is StoreOutcome.STALE_EPOCH or not self._epochs.allows(token):
            return None
        return Obtained(token, "exchange")

    async def _claim_replacement(self, key: TokenKey) -> bool | None:
        """Whether the claim is ours; None where nobody can tell."""
        try:
            return await self._cache.claim_replacement(key.ref, REPLACEMENT_SECONDS)
        except CacheUnavailableError:
            return None  # The vendor's own record of replacements still bounds this replica.

    async def _give_back_replacement(self, key: TokenKey) -> None:
        """What failed was no replacement: the next report may try again, as soon as a failed exchange may be."""
        try:
            await self._cache.return_replacement(key.ref)
        except CacheUnavailableError:
            return  # It ends by itself.

    async def _hold(self, key: TokenKey, seconds: float) -> None:
        self._held_until[key.ref] = self._clock() + seconds
        try:
            await self._cache.hold(key.ref, seconds)
        except CacheUnavailableError:
            return

    async def _store(self, token: AccessToken, replacing: AccessToken | None) -> StoreOutcome | None:
        try:
            return await self._cache.store(token, replacing)
        except CacheUnavailableError:
            return None


def _refuse_while_held(seconds: float) -> None:
    if seconds > 0:
        raise ImsUnavailableError("IMS asked to be left alone with this credential.", retry_after=seconds)
