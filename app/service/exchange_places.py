"""The places of exchanges: how many run at once, and who is next.

Rules, in the order in which they apply:

- At most `limit` exchanges have a place. After `PATIENCE_SECONDS` an exchange frees its place for the next one and
  continues without it, as long as there are fewer than `MAX_SLOW_PER_PLACE` such exchanges per place. So tenants that
  hang cannot keep the places until their deadline.
- An org has at most a quarter of the places.
- A credential whose last exchange failed is suspect. All suspects together have a quarter of the places, and are
  served after all others.
- Refreshes come first, then new tokens, then replacements of reported ones.
- If a client's budget at IMS is used up (`service/fleet_budget`), its exchanges wait until there is budget again.
  Then they ask for it one at a time.
- Among equals, the oldest and the newest are served in turn, because the callers of the others may have given up.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum

from cachetools import LRUCache

from app.domain.dependency_errors import ExchangeDeferredError, ImsUnavailableError, OverloadedError
from app.domain.learned_rate import BudgetKey
from app.domain.names import CredentialRef
from app.domain.tenant_errors import CredentialRejectedError, TenantError

DEFAULT_PLACES = 20

PATIENCE_SECONDS = 2.0
"""The time after which an exchange frees its place."""

MAX_SLOW_PER_PLACE = 4
"""The most exchanges without a place, per place: there are four if one starts every 2 s and each ends after 10 s."""

MAX_QUEUED = 1_500
"""Exchanges that wait for a place in one replica; one more gets `overloaded`."""

WAIT_SECONDS = 8.0
"""The longest wait for a place, so that time for the exchange is left within its 14 s."""

MAX_SUSPECTS = 10_000
"""The number of credentials whose last exchange is remembered as failed."""


class Purpose(Enum):
    """What an exchange is for, the most important first."""

    REFRESH = "refresh"
    """A token that is due, while the old one is still served."""

    COLD = "cold"
    """A request that waits for a token."""

    REPORT = "report"
    """A token that Adobe refused."""


_SUSPECT = "suspect"
_RANKS = (*(purpose.value for purpose in Purpose), _SUSPECT)


MAX_CLIENTS = 10_000
"""The number of credentials whose client is remembered, and of clients whose budget was used up lately."""

THROTTLED_SECONDS = 60.0
"""The time for which exchanges of a client ask one at a time after its budget was used up."""


@dataclass(eq=False, slots=True)
class ExchangePlace:
    """One exchange, waiting or running.

    Args:
        ref: Its credential.
        rank: Its purpose, or that it is suspect.
        client: What its budget is of, once that is known.
        was_refused: Whether IMS refused its credential last time, in the same version.
        has_budget: Whether it got its part of the budget.

    """

    ref: CredentialRef
    rank: str
    client: BudgetKey | None
    was_refused: bool
    granted: asyncio.Event = field(default_factory=asyncio.Event)
    generation: str | None = None
    is_slow: bool = False
    has_budget: bool = False

    @property
    def is_suspect(self) -> bool:
        """Whether the last exchange of its credential failed."""
        return self.rank == _SUSPECT


class ExchangePlaces:
    """Hands out the places of one replica.

    Args:
        limit: The number of places.
        patience: Seconds after which an exchange frees its place.
        longest_wait: The longest wait for a place, in seconds.
        max_queued: The number of exchanges that may wait.
        draw: Uniform random float between two bounds.

    """

    def __init__(
        self,
        limit: int = DEFAULT_PLACES,
        patience: float = PATIENCE_SECONDS,
        longest_wait: float = WAIT_SECONDS,
        max_queued: int = MAX_QUEUED,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._draw = draw
        self._limit = limit
        self._share = max(1, limit // 4)
        self._patience = patience
        self._longest_wait = longest_wait
        self._max_queued = max_queued
        self._queues: dict[str, dict[ExchangePlace, None]] = {rank: {} for rank in _RANKS}
        self._running: set[ExchangePlace] = set()
        self._newest_next = False
        # If IMS refused it, with the generation that it refused.
        self._suspects = LRUCache[CredentialRef, str | None](MAX_SUSPECTS)
        self._clients = LRUCache[CredentialRef, BudgetKey](MAX_CLIENTS)
        # Until when (by the loop's clock) exchanges of a client wait.
        self._paused = LRUCache[BudgetKey, float](MAX_CLIENTS)
        self._deferred = 0

    @asynccontextmanager
    async def take(self, ref: CredentialRef, purpose: Purpose) -> AsyncIterator[ExchangePlace]:
        """Wait for a place and keep it within the context.

        Raises:
            OverloadedError: Too many exchanges wait, or none became free in time.

        """
        if sum(map(len, self._queues.values())) >= self._max_queued:
            raise OverloadedError("Too many exchanges with IMS wait for their turn.", self._retry_after(purpose))
        place = ExchangePlace(ref, _SUSPECT if ref in self._suspects else purpose.value, self._clients.get(ref), False)
        self._queues[place.rank][place] = None
        self._fill()
        patience: asyncio.TimerHandle | None = None
        try:
            await self._granted(place, purpose)
            patience = asyncio.get_running_loop().call_later(self._patience, self._becomes_slow, place)
            yield place
        finally:
            if patience is not None:
                patience.cancel()
            self._queues[place.rank].pop(place, None)
            self._running.discard(place)
            self._fill()

    def succeeded(self, ref: CredentialRef) -> None:
        """Note that an exchange of `ref` succeeded."""
        self._suspects.pop(ref, None)

    def failed(self, place: ExchangePlace, error: BaseException) -> None:
        """Note how an exchange failed. A pause that IMS asks for, or Vault, says nothing about the tenant."""
        throttled = isinstance(error, ExchangeDeferredError) or (
            isinstance(error, ImsUnavailableError) and error.throttled
        )
        # It is cancelled if it reached its deadline.
        if not isinstance(error, (TenantError, ImsUnavailableError, asyncio.CancelledError)) or throttled:
            return
        if isinstance(error, CredentialRejectedError):
            # Without a generation IMS was not called: the refusal was remembered.
            self._suspects[place.ref] = place.generation or self._suspects.get(place.ref)
        else:
            self._suspects[place.ref] = None

    def belongs(self, place: ExchangePlace, client: BudgetKey, generation: str) -> None:
        """Note the client of an exchange, and the version of its credential."""
        place.client = self._clients[place.ref] = client
        place.was_refused = self._suspects.get(place.ref) == generation
        place.generation = generation

    def has_budget(self, place: ExchangePlace) -> None:
        """Note that an exchange got its part of the budget: the next one of its client may ask."""
        place.has_budget = True
        self._fill()

    def defer(self, place: ExchangePlace, client: BudgetKey, seconds: float) -> None:
        """Note that the budget of a client is used up for `seconds`, or its part for credentials that IMS refused."""
        self._deferred += 1
        if place.was_refused:
            return
        self._paused[client] = asyncio.get_running_loop().time() + seconds
        self._resume(client)

    def deferred(self) -> float:
        """How often a budget was used up."""
        return self._deferred

    def waiting(self) -> Mapping[str, float]:
        """The number of exchanges that wait, by purpose; those of suspects apart."""
        return {rank: len(queue) for rank, queue in self._queues.items()}

    def running(self) -> Mapping[str, float]:
        """The number of exchanges that run, with a place (`prompt`) and without one (`slow`)."""
        slow = sum(place.is_slow for place in self._running)
        return {"prompt": len(self._running) - slow, "slow": slow}

    async def _granted(self, place: ExchangePlace, purpose: Purpose) -> None:
        if place.granted.is_set():
            return  # A place that is free costs no timer.
        try:
            async with asyncio.timeout(self._longest_wait):
                await place.granted.wait()
        except TimeoutError:
            raise OverloadedError("No exchange with IMS became free in time.", self._retry_after(purpose)) from None

    def _retry_after(self, purpose: Purpose) -> float:
        """Seconds. Refreshes have time, and are spread, so that the next ones do not all come at once again."""
        return self._draw(1.0, 10.0) if purpose is Purpose.REFRESH else 2.0

    def _becomes_slow(self, place: ExchangePlace) -> None:
        if self.running()["slow"] < self._limit * MAX_SLOW_PER_PLACE:
            place.is_slow = True
            self._fill()

    def _resume(self, client: BudgetKey) -> None:
        """Hand out places as soon as the pause of a client is over."""
        loop = asyncio.get_running_loop()
        left = self._paused.get(client, 0.0) - loop.time()
        if left > 0:
            # A timer may fire a little early: then there is some time left, and another one.
            loop.call_later(left, self._resume, client)
        else:
            self._fill()

    def _fill(self) -> None:
        while (
            any(self._queues.values())
            and self.running()["prompt"] < self._limit
            and (place := self._next()) is not None
        ):
            del self._queues[place.rank][place]
            self._running.add(place)
            place.granted.set()

    def _next(self) -> ExchangePlace | None:
        """Who is next, or None if all that wait have their share already."""
        full, blocked = self._full_orgs(), self._blocked_clients()
        for rank, queue in self._queues.items():
            if rank == _SUSPECT and sum(place.is_suspect for place in self._running) >= self._share:
                return None
            for place in reversed(queue) if self._newest_next else queue:
                if place.ref.org not in full and place.client not in blocked:
                    self._newest_next = not self._newest_next
                    return place
        return None

    def _blocked_clients(self) -> set[BudgetKey]:
        """The clients that have no budget now, or whose part another exchange is asking for."""
        now = asyncio.get_running_loop().time()
        asking = {place.client for place in self._running if not place.has_budget}
        for client, until in tuple(self._paused.items()):
            if until + THROTTLED_SECONDS <= now:
                self._paused.pop(client, None)
        return {client for client, until in self._paused.items() if now < until or client in asking}

    def _full_orgs(self) -> set[str]:
        held: dict[str, int] = {}
        for place in self._running:
            held[place.ref.org] = held.get(place.ref.org, 0) + 1
        return {org for org, places in held.items() if places >= self._share}
