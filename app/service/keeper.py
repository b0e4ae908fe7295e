"""The keeper: refreshes tokens that no caller asks for at the moment, so that an outage finds every used token renewed.

Each replica looks after the tokens in its own memory; no replica leads. A refresh reads the shared cache first and then
takes the lease, so that all replicas together make one exchange. A replica that starts with an empty memory keeps only
what callers ask of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from app.domain.access_token import TokenState
from app.domain.held_token import HeldToken
from app.domain.names import TokenKey
from app.ports import Clock
from app.service.backoff import RefreshBackoff
from app.service.due_tokens import DueTokens
from app.service.memory import TokenMemory
from app.service.vend import TokenVendor

MAX_KEPT_AT_ONCE = 8
"""Refreshes that the keeper runs at the same time: callers have the rest of the capacity of Vault and IMS."""

KEEPER_PAUSE_SECONDS = 0.25
"""The pause between two looks at the token that is due first."""

KEEPER_RETRY_SECONDS = 1.0
"""The shortest pause until a token that could not be refreshed is due again."""

LOOK_AGAIN_SHARE = 0.05
"""The share of its life after which the keeper looks again at a token that no caller has used for too long."""


class Keeper:
    """Refreshes due tokens.

    Args:
        memory: The tokens of this replica.
        vendor: Refreshes them.
        backoff: Says when a failed refresh may be tried again.
        window: Seconds for which a token is kept after its last use; 0 keeps none.
        clock: Unix time in seconds.
        steady: Seconds of a clock that is never stepped.
        sleep: Waits for seconds.

    """

    def __init__(
        self,
        memory: TokenMemory,
        vendor: TokenVendor,
        backoff: RefreshBackoff,
        window: float,
        clock: Clock,
        steady: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._memory = memory
        self._vendor = vendor
        self._backoff = backoff
        self._window = window
        self._clock = clock
        self._steady = steady
        self._sleep = sleep
        self._due = DueTokens(memory)
        self._running = 0
        memory.when_kept(self._due.add)

    async def run(self) -> None:
        """Refresh due tokens until cancelled. Running refreshes go on: they belong to the vendor."""
        while True:
            self.refresh_due()
            await self._sleep(KEEPER_PAUSE_SECONDS)

    def refresh_due(self) -> None:
        """Start the refresh of the tokens that are due, as many as may run at the same time."""
        steady = self._steady()
        while self._running < MAX_KEPT_AT_ONCE and (held := self._due.take(steady)) is not None:
            self._look_at(held, steady)

    def _look_at(self, held: HeldToken, steady: float) -> None:
        if held.state(self._clock(), steady) is TokenState.EXPIRED:
            return  # There is nothing left to keep: the next request mints.
        key = held.token.key
        if steady - held.used_at >= self._window:
            self._schedule(held, LOOK_AGAIN_SHARE * held.token.lifetime)
        elif (call := self._vendor.start_refresh(key, self._clock())) is None:
            self._retry(held)
        else:
            self._running += 1
            self._due.started(key)
            call.add_done_callback(lambda _: self._ended(key))

    def _ended(self, key: TokenKey) -> None:
        self._running -= 1
        self._due.ended(key)
        held = self._memory.held(key)
        if held is not None and held.due <= self._steady():  # Otherwise there is a new token, which has its own entry.
            self._retry(held)

    def _retry(self, held: HeldToken) -> None:
        self._schedule(held, max(KEEPER_RETRY_SECONDS, self._backoff.pause(held.token.key, self._clock())))

    def _schedule(self, held: HeldToken, pause: float) -> None:
        held.due = self._steady() + pause
        self._due.add(held)
