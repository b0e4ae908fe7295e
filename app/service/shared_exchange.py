"""One exchange across all replicas: look in the shared cache, take a place and the lease, look again, mint.

The lease is an efficiency lock: two exchanges at once are wasteful, but harmless, because IMS keeps old tokens
valid. Only the write must be correct. The shared cache ensures that: it stores only later expiries of the same epoch.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from enum import Enum
from functools import partial
from typing import Literal

from cachetools import LRUCache

from app.domain.access_token import AccessToken
from app.domain.cache_entry import MAX_HOLD, StoreOutcome
from app.domain.dependency_errors import (
    CacheUnavailableError,
    CredentialStoreError,
    DependencyError,
    ExchangeDeferredError,
    ImsUnavailableError,
    OverloadedError,
)
from app.domain.events import CacheLookedUp
from app.domain.names import CredentialRef, TokenKey
from app.ports import Clock, EventSink, Lease, TokenCache
from app.service.epochs import Epochs
from app.service.exchange_admission import ExchangeAdmission
from app.service.exchange_places import ExchangePlace
from app.service.lease_turn import RENEWAL_SECONDS, LeaseTurns, Turn
from app.service.mint import Minter
from app.service.need import Need, Obtained

POLL_SECONDS = (0.05, 0.15)
"""The pause between two reads while another replica exchanges: drawn between these bounds, to spread replicas."""

READS_PER_TURN = 3
"""The number of those reads before the lease is asked for again: the other replica mostly stores a token."""

LONGEST_CALL_SECONDS = 14.0
"""The longest time for one call; below the 15 s that a request may take."""

MAX_MINTS = 4
"""The number of times that one call mints again because of a purge during minting, before it gives up."""

REPLACEMENT_SECONDS = 60.0
"""A reported token is replaced at most once in this time, per credential (docs/contract.md section 3)."""

MAX_HELD = 10_000
"""The number of credentials whose back-off is also remembered here, besides the shared cache."""


class ReplacementClaim(Enum):
    """Who may replace a reported token."""

    OURS = "ours"
    TAKEN = "taken"
    """It was replaced, or is being replaced, within `REPLACEMENT_SECONDS`."""

    UNKNOWN = "unknown"
    """The shared cache is unavailable. The vendor's own record of replacements still limits this replica."""


class SharedExchange:
    """Obtains tokens, with one exchange for all replicas.

    Args:
        cache: The shared cache.
        lease: The lease of the right to exchange.
        minter: Mints new tokens.
        epochs: The known purges.
        sink: Listens to events.
        clock: Unix time in seconds.
        admission: Who may exchange now.
        draw: Uniform random float between two bounds.
        longest_seconds: The longest time for one call.
        renewal_seconds: The interval at which a held lease is renewed.

    """

    def __init__(
        self,
        cache: TokenCache,
        lease: Lease,
        minter: Minter,
        epochs: Epochs,
        sink: EventSink,
        clock: Clock,
        admission: ExchangeAdmission | None = None,
        draw: Callable[[float, float], float] = random.uniform,
        longest_seconds: float = LONGEST_CALL_SECONDS,
        renewal_seconds: float = RENEWAL_SECONDS,
    ) -> None:
        self._cache = cache
        self._turns = LeaseTurns(lease, renewal_seconds)
        self._minter = minter
        self._epochs = epochs
        self._sink = sink
        self._clock = clock
        self._admission = admission or ExchangeAdmission()
        self._draw = draw
        self._longest_seconds = longest_seconds
        # The end of each back-off that IMS asked for, in Unix seconds: also here, in case the shared cache is down.
        self._held_until = LRUCache[CredentialRef, float](MAX_HELD)

    async def obtain(self, key: TokenKey, need: Need) -> Obtained:
        """A token that meets `need`, or the reported token unchanged, if it may not be replaced yet.

        Raises:
            BrokerError: Minting failed; `ImsUnavailableError` if it took too long.

        """
        until = asyncio.get_running_loop().time() + self._longest_seconds
        try:
            # The shared cache bounds its own calls, and most calls end here.
            found = await self._look(key, need, first=True)
            if found is None:
                async with asyncio.timeout_at(until):
                    found = await self._obtain(key, need)
            return found
        except TimeoutError:
            failure: DependencyError = ImsUnavailableError("No token could be minted in time.", retry_after=2.0)
        except (CredentialStoreError, ImsUnavailableError) as error:
            failure = error.copied()
        # Outside the handler: a time-out leads to this task, and with it in the error's context there would be a cycle.
        return await self._stored_meanwhile(key, need, failure)

    async def _stored_meanwhile(self, key: TokenKey, need: Need, error: DependencyError) -> Obtained:
        """The token that another replica has stored while this one failed; raises `error` if there is none.

        A replica that stood still, or whose way to IMS is broken, need not fail its callers.
        """
        with suppress(DependencyError):
            found = await self._look(key, need)
            if found is not None:
                return found
        raise error.copied()

    async def _obtain(self, key: TokenKey, need: Need) -> Obtained:
        found, mints = None, 0
        while found is None and mints < MAX_MINTS:
            # The place before the lease: what waits here must not keep other replicas from exchanging.
            async with self._admission.place(key.ref, need.purpose) as place, self._turn(key, need) as turn:
                if turn is Turn.OURS:
                    # Read again, because the previous holder may have stored a token.
                    found = await self._look(key, need)
                # Coverage ascribes the way past this to the line of the two context managers.
                if found is None and turn.may_exchange:  # pragma: no branch
                    try:
                        found = await self._exchange(key, need, place)
                    except ExchangeDeferredError:
                        if place.was_refused:
                            raise
                        continue  # The next place comes when the budget allows it.
                    mints += 1
            if found is None:
                found = await self._poll(key, need, READS_PER_TURN if turn is Turn.TAKEN else 1)
        if found is None:
            raise purged_too_often()
        return found

    async def _poll(self, key: TokenKey, need: Need, reads: int) -> Obtained | None:
        """The token that another replica stores meanwhile; None after so many reads without one."""
        for _ in range(reads):
            await asyncio.sleep(self._draw(*POLL_SECONDS))
            found = await self._look(key, need)
            if found is not None:
                return found
        return None

    def _turn(self, key: TokenKey, need: Need) -> AbstractAsyncContextManager[Turn]:
        return nullcontext(Turn.UNKNOWN) if need.alone else self._turns.take(key)

    async def _look(self, key: TokenKey, need: Need, *, first: bool = False) -> Obtained | None:
        """The token in the shared cache. Only the `first` read emits an event; the others are polls."""
        held = self._held_until.get(key.ref, 0.0) - self._clock()
        if held > MAX_HOLD:  # The clock was set back.
            held = 0.0
        if need.alone:
            _refuse_while_held(held)
            return None
        try:
            entry = await self._cache.read(key)
        except CacheUnavailableError:
            self._report(first, "unavailable")
            _refuse_while_held(held)
            return None
        self._epochs.learn(key.ref, entry.epoch, in_use=True)
        token, now = entry.token, self._clock()
        behind = max(need.behind, entry.clock_behind(now))
        if token is not None and self._epochs.allows(token) and need.met_by(token, now, behind):
            self._report(first, "hit")
            return Obtained(token, "shared", behind)
        self._report(first, "miss")
        _refuse_while_held(entry.hold)
        return None

    def _report(self, first: bool, outcome: Literal["hit", "miss", "unavailable"]) -> None:  # passed on
        if first:
            self._sink.emit(CacheLookedUp("shared", outcome))

    async def _exchange(self, key: TokenKey, need: Need, place: ExchangePlace) -> Obtained | None:
        """Mint and store; None if a purge during minting made it void, so that the caller must start over."""
        claim = ReplacementClaim.UNKNOWN
        if need.replacing is not None:
            claim = await self._claim_replacement(key)
            if claim is ReplacementClaim.TAKEN:
                return Obtained(need.replacing, "shared")
        try:
            token = await self._minter.mint(key, self._epochs.of(key.ref), partial(self._admission.admit, place))
        except BaseException as error:
            if isinstance(error, ImsUnavailableError) and error.throttled:
                await self._hold(key, error.retry_after)
            if claim is ReplacementClaim.OURS:  # Otherwise the stored claim may belong to another replica.
                await self._give_back_replacement(key)
            await self._admission.failed(place, error)
            raise
        self._admission.succeeded(key.ref)
        replaced = need.replacing
        if need.current is not None and not token.outlives(need.current, need.behind):
            # IMS issues the same token until it ends, or shorter lives now.
            token, replaced = need.current.asked_again_near_its_end(), need.current
        outcome = None if need.alone else await self._store(token, replaced)
        if outcome is StoreOutcome.STALE_EPOCH or not self._epochs.allows(token):
            return None
        return Obtained(token, "exchange")

    async def _claim_replacement(self, key: TokenKey) -> ReplacementClaim:
        try:
            is_ours = await self._cache.claim_replacement(key.ref, REPLACEMENT_SECONDS)
        except CacheUnavailableError:
            return ReplacementClaim.UNKNOWN
        return ReplacementClaim.OURS if is_ours else ReplacementClaim.TAKEN

    async def _give_back_replacement(self, key: TokenKey) -> None:
        """A failed exchange did not replace anything: the next report may try again, after the back-off."""
        try:
            await self._cache.return_replacement(key.ref)
        except CacheUnavailableError:
            return  # It expires anyway.

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


def purged_too_often() -> OverloadedError:
    """The error of a request whose token was purged in each of several attempts."""
    return OverloadedError("The token was purged repeatedly while it was minted.")


def _refuse_while_held(seconds: float) -> None:
    if seconds > 0:
        raise ImsUnavailableError("IMS asked the broker to back off for this credential.", retry_after=seconds)
