"""A simulated Redis that keeps the contract of the real one, and can fail over to a copy that lost the last writes.

`tests/contract` runs over it as over the real Redis.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from app.domain.access_token import AccessToken
from app.domain.cache_entry import MAX_HOLD, CacheEntry, Purge, StoreOutcome
from app.domain.dependency_errors import CacheUnavailableError
from app.domain.names import CredentialRef, TokenKey
from app.ports import Clock
from tests.simulation.simulated_network import DELAY, Process, SimulatedLink

LISTEN_SECONDS = 20.0

_Result = TypeVar("_Result")


@dataclass
class RedisState:
    """What Redis stores. Times are Unix times in seconds."""

    tokens: dict[TokenKey, AccessToken] = field(default_factory=dict)
    epochs: dict[CredentialRef, int] = field(default_factory=dict)
    holds: dict[CredentialRef, float] = field(default_factory=dict)
    replaced: dict[CredentialRef, float] = field(default_factory=dict)
    leases: dict[TokenKey, tuple[str, float]] = field(default_factory=dict)
    stream: tuple[Purge, ...] = ()

    def copy(self) -> RedisState:
        """A copy that does not change with this one."""
        return RedisState(
            dict(self.tokens),
            dict(self.epochs),
            dict(self.holds),
            dict(self.replaced),
            dict(self.leases),
            self.stream,
        )


class SimulatedRedis:
    """The server.

    Args:
        clock: Its own clock, Unix time in seconds.
        history: Seconds of writes that a failover may lose; 0 to keep no history.
        lease_seconds: Life of a lease that is not renewed.

    """

    def __init__(self, clock: Clock, history: float = 0.0, lease_seconds: float = 5.0) -> None:
        self.clock = clock
        self.lease_seconds = lease_seconds
        self.state = RedisState()
        self.run = 0
        self.changed = asyncio.Event()
        self.token_calls = 0
        """Calls that read or store a token, or acquire, renew or release a lease."""
        self._history = history
        self._past: list[tuple[float, RedisState]] = []

    def before_write(self) -> None:
        """Keep what a failover may go back to."""
        if self._history:
            now = self.clock()
            self._past = [(at, state) for at, state in self._past if at >= now - self._history]
            self._past.append((now, self.state.copy()))

    def fail_over(self, lost: float) -> None:
        """Become a replica that lacks the writes of the last `lost` seconds."""
        cut = self.clock() - lost
        lacks = [state for at, state in self._past if at >= cut]
        if lacks:
            self.state = lacks[0].copy()
        self._reset()

    def flush(self) -> None:
        """Lose everything."""
        self.state = RedisState()
        self._reset()

    def announce(self, ref: CredentialRef, epoch: int) -> None:
        """Add to the stream of purges."""
        self.state.stream = (*self.state.stream, Purge(ref, epoch))
        self._wake()

    def _reset(self) -> None:
        self._past.clear()
        self.run += 1
        self._wake()

    def _wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


def link_to_redis(draw: random.Random, delay: tuple[float, float] = DELAY) -> SimulatedLink:
    """The way to the server. See `SimulatedLink`."""
    unreachable = partial(CacheUnavailableError, "The simulated Redis is unreachable.")
    return SimulatedLink(unreachable, draw, deadline=0.25, delay=delay)


class RedisConnection:
    """One replica's connection to the server: `TokenCache`, `PurgeLog` and `Lease`.

    Args:
        server: The server.
        link: The network between.
        process: The replica.
        listen: Seconds of one read of the stream.

    """

    def __init__(
        self, server: SimulatedRedis, link: SimulatedLink, process: Process, listen: float = LISTEN_SECONDS
    ) -> None:
        self._listen = listen
        self._server = server
        self._link = link
        self._process = process
        self._holders = 0
        self._held: dict[TokenKey, str] = {}
        """The holder's value of each lease that was taken; empty if it was given back along with a token."""
        self._uncertain: dict[TokenKey, str] = {}
        self._position: tuple[int, int] | None = None

    async def read(self, key: TokenKey) -> CacheEntry:
        """See `app.ports.TokenCache.read`."""
        self._server.token_calls += 1
        return await self._call(lambda: self._read(key))

    async def store(self, token: AccessToken, replacing: AccessToken | None = None) -> StoreOutcome:
        """See `app.ports.TokenCache.store`. As in Redis, it gives back the lease of the key, too."""
        self._server.token_calls += 1
        key, holder = token.key, self._held.get(token.key)

        def effect() -> StoreOutcome:
            outcome = self._store(token, replacing)
            self._end_lease(key, holder)
            return outcome

        outcome = await self._write(effect)
        if holder and self._held.get(key) == holder:
            self._held[key] = ""
        return outcome

    async def hold(self, ref: CredentialRef, seconds: float) -> None:
        """See `app.ports.TokenCache.hold`."""
        await self._write(lambda: self._hold(ref, seconds))

    async def claim_replacement(self, ref: CredentialRef, window: float) -> bool:
        """See `app.ports.TokenCache.claim_replacement`."""
        return await self._write(lambda: self._claim(ref, window))

    async def return_replacement(self, ref: CredentialRef) -> None:
        """See `app.ports.TokenCache.return_replacement`."""
        await self._write(lambda: self._state.replaced.pop(ref, None))

    async def raise_epoch(self, ref: CredentialRef, above: int, *, in_background: bool = False) -> int:
        """See `app.ports.PurgeLog.raise_epoch`. Two calls, as in Redis: it may be raised, but not announced."""
        epoch = await self._write(lambda: self._raise(ref, above))
        await self._write(lambda: self._server.announce(ref, epoch))
        return epoch

    async def epochs(self, refs: Sequence[CredentialRef]) -> Sequence[int]:
        """See `app.ports.PurgeLog.epochs`."""
        return await self._call(lambda: [self._state.epochs.get(ref, 0) for ref in refs])

    async def restore_epoch(self, ref: CredentialRef, epoch: int) -> None:
        """See `app.ports.PurgeLog.restore_epoch`."""
        if await self._write(lambda: self._restore(ref, epoch)):
            await self._write(lambda: self._server.announce(ref, epoch))

    async def purges(self) -> AsyncIterator[Purge]:
        """See `app.ports.PurgeLog.purges`."""
        if self._position is None:
            self._position = await self._call(self._end_of_stream)
        while True:
            changed = self._server.changed
            # The position moves when the reply is here: a lost reply loses no purge.
            entries, self._position = await self._call(self._next_entries)
            for purge in entries:
                yield purge
            if not entries:
                await _wait_for(changed, self._listen)

    async def acquire(self, key: TokenKey) -> str | None:
        """See `app.ports.Lease.acquire`. A value whose reply was lost is shown again, as in Redis."""
        self._server.token_calls += 1
        self._holders += 1
        holder = self._uncertain.pop(key, f"{self._process.name}:{self._holders}")
        try:
            acquired = await self._write(lambda: self._acquire(key, holder))
        except BaseException:
            self._uncertain[key] = holder
            raise
        if not acquired:
            return None
        self._held[key] = holder
        return holder

    async def renew(self, key: TokenKey, holder: str) -> bool:
        """See `app.ports.Lease.renew`."""
        self._server.token_calls += 1
        return await self._write(lambda: self._holder(key) == holder and self._acquire(key, holder))

    async def release(self, key: TokenKey, holder: str) -> None:
        """See `app.ports.Lease.release`. No call, if a token was stored meanwhile."""
        if self._held.pop(key, holder):
            self._server.token_calls += 1
            await self._write(lambda: self._end_lease(key, holder))

    @property
    def _state(self) -> RedisState:
        return self._server.state

    def _call(self, effect: Callable[[], _Result]) -> Coroutine[Any, Any, _Result]:
        return self._link.call(self._process, effect)

    def _write(self, effect: Callable[[], _Result]) -> Coroutine[Any, Any, _Result]:
        def written() -> _Result:
            self._server.before_write()
            return effect()

        return self._call(written)

    def _read(self, key: TokenKey) -> CacheEntry:
        now, epoch = self._server.clock(), self._state.epochs.get(key.ref, 0)
        token = self._state.tokens.get(key)
        if token is not None and (token.expires_at <= now or token.epoch < epoch):
            token = None
        known = epoch if token is None else token.epoch
        hold = max(0.0, self._state.holds.get(key.ref, 0.0) - now)
        return CacheEntry(token, known, hold, None if token is None else token.expires_at - now)

    def _store(self, token: AccessToken, replacing: AccessToken | None) -> StoreOutcome:
        if self._state.epochs.get(token.key.ref, 0) > token.epoch:
            return StoreOutcome.STALE_EPOCH
        there = self._state.tokens.get(token.key)
        if there is not None and there.expires_at > self._server.clock() and not _yields(there, token, replacing):
            return StoreOutcome.OLDER
        if token.epoch > 0:
            self._state.epochs[token.key.ref] = token.epoch
        self._state.tokens[token.key] = token
        return StoreOutcome.STORED

    def _hold(self, ref: CredentialRef, seconds: float) -> None:
        until = self._server.clock() + min(seconds, MAX_HOLD)
        self._state.holds[ref] = max(until, self._state.holds.get(ref, 0.0))

    def _claim(self, ref: CredentialRef, window: float) -> bool:
        now = self._server.clock()
        if now < self._state.replaced.get(ref, 0.0):
            return False
        self._state.replaced[ref] = now + window
        return True

    def _raise(self, ref: CredentialRef, above: int) -> int:
        epoch = max(self._state.epochs.get(ref, 0), above) + 1
        self._state.epochs[ref] = epoch
        return epoch

    def _restore(self, ref: CredentialRef, epoch: int) -> bool:
        if self._state.epochs.get(ref, 0) >= epoch:
            return False
        self._state.epochs[ref] = epoch
        return True

    def _holder(self, key: TokenKey) -> str | None:
        holder, until = self._state.leases.get(key, (None, 0.0))
        return holder if self._server.clock() < until else None

    def _acquire(self, key: TokenKey, holder: str) -> bool:
        if self._holder(key) not in {None, holder}:
            return False
        self._state.leases[key] = (holder, self._server.clock() + self._server.lease_seconds)
        return True

    def _end_lease(self, key: TokenKey, holder: str | None) -> None:
        if holder is not None and self._holder(key) == holder:
            del self._state.leases[key]

    def _end_of_stream(self) -> tuple[int, int]:
        return self._server.run, len(self._state.stream)

    def _next_entries(self) -> tuple[tuple[Purge, ...], tuple[int, int]]:
        assert self._position is not None  # `purges` has set it
        run, read = self._position
        missed = run != self._server.run
        return (Purge(None, 0),) if missed else self._state.stream[read:], self._end_of_stream()


async def _wait_for(changed: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        return  # as a blocking read that ends without entries


def _yields(there: AccessToken, token: AccessToken, replacing: AccessToken | None) -> bool:
    """Whether `token` may take the place of `there`: of a later epoch, or of the same and expiring later."""
    if there.epoch != token.epoch:
        return there.epoch < token.epoch
    milliseconds = int(there.expires_at * 1000)
    replaced = replacing is not None and milliseconds == int(replacing.expires_at * 1000)
    return replaced or milliseconds < int(token.expires_at * 1000)
