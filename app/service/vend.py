"""Vends tokens.

In memory and fresh: answer. Aging: answer, and refresh in the background. Critical: wait a little for the refresh, then
answer. Otherwise: wait for one call.
"""

from __future__ import annotations

import asyncio

from app.domain.access_token import AccessToken, TokenState
from app.domain.errors import BrokerError
from app.domain.events import CacheLookedUp
from app.domain.names import CredentialRef, TokenKey
from app.ports import Clock, EventSink, Tracer
from app.service.backoff import RefreshBackoff
from app.service.epochs import Epochs
from app.service.memory import TokenMemory
from app.service.min_ttl import lives_long_enough
from app.service.need import Need, Obtained
from app.service.purges import Purges
from app.service.replacements import Replacements
from app.service.shared_exchange import SharedExchange, purged_too_often
from app.service.token_calls import TokenCalls
from app.service.tracing import NoTracer

MAX_ROUNDS = 5
"""The number of calls that one request joins without a suitable token before it gives up."""

CRITICAL_WAIT_SECONDS = 3.0
"""The time for which a request waits for the refresh of a critical token, before it gets the old one."""


class TokenVendor:
    """Vends and replaces tokens.

    Args:
        memory: The front cache.
        exchange: Obtains tokens that are not in memory.
        purges: Sends missed purges to the shared cache before its answer is trusted.
        epochs: The known purges.
        sink: Listens to events.
        clock: Unix time in seconds.
        steady: Seconds of a clock that is never stepped.
        backoff: Decides when failed refreshes are retried; the same one as that of `Keeper`.
        tracer: Draws spans around vends and calls.

    """

    def __init__(
        self,
        memory: TokenMemory,
        exchange: SharedExchange,
        purges: Purges,
        epochs: Epochs,
        sink: EventSink,
        clock: Clock,
        steady: Clock,
        backoff: RefreshBackoff,
        tracer: Tracer | None = None,
    ) -> None:
        self._memory = memory
        self._epochs = epochs
        self._sink = sink
        self._clock = clock
        self._steady = steady
        self._tracer = tracer or NoTracer()
        self._calls = TokenCalls(memory, exchange, purges, epochs, sink, clock, backoff, self._tracer)
        self._replacements = Replacements()

    def take_usable(self, key: TokenKey, now: float) -> tuple[AccessToken, int] | None:
        """The token in memory and its whole seconds left, if it is fresh or aging. Never waits.

        It notes the use of the token. An aging one starts a refresh in the background.
        """
        held = self._memory.held(key)
        if held is None:
            return None
        # As `HeldToken.state`, without a call: this is the warm path.
        token, held.used_at = held.token, self._steady()
        steady_now = held.used_at + held.lead
        latest = steady_now + held.behind
        if latest < now:
            latest = now
        if latest >= token.critical_from:
            return None
        if steady_now >= token.refresh_at:
            self._calls.refresh(key, now)
        return token, int(token.expires_at - latest)

    def start_refresh(self, key: TokenKey, now: float) -> asyncio.Task[Obtained] | None:
        """Refresh the token in memory for `key` in the background; see `TokenCalls.refresh`."""
        return self._calls.refresh(key, now)

    def is_current(self, token: AccessToken) -> bool:
        """Whether no purge that this replica knows of came after `token`."""
        return self._epochs.allows(token)

    def seconds_left(self, token: AccessToken) -> int:
        """The whole seconds until `token` expires; negative after its expiry."""
        held, now = self._memory.held(token.key), self._clock()
        if held is not None and held.token is token:
            now = held.latest(now, self._steady())
        return int(token.remaining(now))

    async def vend(self, key: TokenKey, min_ttl: float = 0.0) -> Obtained:
        """A usable token that is valid for at least `min_ttl` seconds.

        Raises:
            InvalidRequestError: The lifetime of this credential's tokens is shorter than `min_ttl`.
            BrokerError: No token is available.

        """
        with self._tracer.vend(key.ref):
            return await self._vend(key, min_ttl)

    async def _vend(self, key: TokenKey, min_ttl: float) -> Obtained:
        for _ in range(MAX_ROUNDS):
            now = self._clock()
            usable = self.take_usable(key, now) or await self._take_critical(key, now)
            self._sink.emit(CacheLookedUp("memory", "miss" if usable is None else "hit"))
            if usable is not None and lives_long_enough(usable[0], min_ttl, usable[0].expires_at - usable[1]):
                return Obtained(usable[0], "memory")
            obtained = await self._calls.join(key, Need(lives_until=now + min_ttl))
            self._memory.note_use(key)
            now = self._clock() + obtained.behind
            if self._epochs.allows(obtained.token) and lives_long_enough(obtained.token, min_ttl, now):
                return obtained
        raise purged_too_often()

    async def report(self, key: TokenKey, sha256: str) -> Obtained:
        """Replace the token that Adobe refused, once; an outdated report gets the current token unchanged.

        Args:
            key: The key of the token.
            sha256: Lower-case hex SHA-256 of the refused token.

        Raises:
            BrokerError: No token is available.

        """
        current = await self.vend(key)
        refused = current.token
        if refused.sha256 != sha256 or current.tier == "exchange":
            return current
        if key not in self._calls and not self._replacements.claim(key.ref, self._clock()):
            return current
        try:
            obtained = await self._calls.join(key, Need(replacing=refused))
        except BrokerError:
            self._replacements.give_back(key.ref)
            raise
        return obtained if self._epochs.allows(obtained.token) else await self.vend(key)

    def tokens_of(self, ref: CredentialRef) -> tuple[AccessToken, ...]:
        """The tokens that this replica has in memory for a credential."""
        return self._memory.tokens_of(ref)

    def last_error(self, ref: CredentialRef) -> str | None:
        """The code of the error with which the last minting for `ref` ended here, or None if it succeeded."""
        return self._calls.last_error(ref)

    @property
    def calls_in_flight(self) -> int:
        """The number of tokens that are being looked up or minted now."""
        return len(self._calls)

    @property
    def requests_waiting(self) -> int:
        """The number of requests that wait for one of them."""
        return self._calls.waiting

    async def aclose(self, grace: float) -> None:
        """Let running calls finish for `grace` seconds."""
        await self._calls.aclose(grace)

    async def _take_critical(self, key: TokenKey, now: float) -> tuple[AccessToken, int] | None:
        """The token in memory if it was critical: the new one if its refresh ends in time, else the old one."""
        if self._memory.state(key) is not TokenState.CRITICAL:
            return None
        await self._calls.wait_for_refresh(key, now, CRITICAL_WAIT_SECONDS)
        usable, token = self.take_usable(key, self._clock()), self._memory.get(key)
        if usable is None and token is not None and self._memory.state(key) is TokenState.CRITICAL:
            return token, self.seconds_left(token)
        return usable
