"""Vends tokens. Fresh in memory: answer. Aging: answer and refresh in the background. Else: wait for one call."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial

from cachetools import LRUCache

from app.domain.access_token import AccessToken
from app.domain.dependency_errors import OverloadedError
from app.domain.errors import BrokerError, CallerError
from app.domain.events import CacheLookedUp, MintFailed, RefreshFailed, TaskFailed
from app.domain.names import CredentialRef, TokenKey
from app.domain.tenant_errors import CredentialNotFoundError, CredentialRejectedError
from app.ports import Clock, EventSink, Tracer
from app.service.backoff import RecentFailures, RefreshBackoff
from app.service.epochs import Epochs
from app.service.memory import TokenMemory
from app.service.min_ttl import lives_long_enough
from app.service.purges import Purges
from app.service.replacements import Replacements
from app.service.shared_exchange import Need, Obtained, SharedExchange, purged_too_often
from app.service.token_calls import token_calls
from app.service.tracing import NoTracer

MAX_ROUNDS = 5
"""The number of calls that one request joins without a suitable token before it gives up."""

MAX_LAST_ERRORS = 10_000
"""The number of credentials whose last error is remembered."""


class TokenVendor:
    """Vends and replaces tokens.

    Args:
        memory: The front cache.
        exchange: Obtains tokens that are not in memory.
        purges: Sends missed purges to the shared cache before its answer is trusted.
        epochs: The known purges.
        sink: Listens to events.
        clock: Unix time in seconds.
        backoff: Decides when failed refreshes are retried.
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
        backoff: RefreshBackoff | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._memory = memory
        self._exchange = exchange
        self._purges = purges
        self._epochs = epochs
        self._sink = sink
        self._clock = clock
        self._backoff = backoff or RefreshBackoff()
        self._tracer = tracer or NoTracer()
        self._failures = RecentFailures()
        self._calls = token_calls()
        self._replacements = Replacements()
        self._last_errors = LRUCache[CredentialRef, str](MAX_LAST_ERRORS)

    def take_usable(self, key: TokenKey, now: float) -> AccessToken | None:
        """The token in memory if it is usable. An aging one starts a refresh in the background. Never waits."""
        token = self._memory.get(key)
        if token is None or now < token.refresh_at:
            return token
        if now < token.usable_until:
            self._start_refresh(key, now)
        return token if now < token.usable_until else None

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
            token = self.take_usable(key, now)
            self._sink.emit(CacheLookedUp("memory", "miss" if token is None else "hit"))
            if token is not None and lives_long_enough(token, min_ttl, now):
                return Obtained(token, "memory")
            obtained = await self._join(key, Need(lives_until=now + min_ttl))
            if self._epochs.allows(obtained.token) and lives_long_enough(obtained.token, min_ttl, self._clock()):
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
            obtained = await self._join(key, Need(replacing=refused))
        except BrokerError:
            self._replacements.give_back(key.ref)
            raise
        return obtained if self._epochs.allows(obtained.token) else await self.vend(key)

    def tokens_of(self, ref: CredentialRef) -> tuple[AccessToken, ...]:
        """The tokens that this replica has in memory for a credential."""
        return self._memory.tokens_of(ref)

    def last_error(self, ref: CredentialRef) -> str | None:
        """The code of the error with which the last minting for `ref` ended here, or None if it succeeded."""
        return self._last_errors.get(ref)

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

    async def _join(self, key: TokenKey, need: Need) -> Obtained:
        if key in self._calls:
            self._tracer.joins(key)
        else:
            recent = self._failures.recall(key, self._clock())
            if recent is not None:
                raise recent.with_traceback(None)
        call = partial(self._tracer.call, key, partial(self._call, key, need), in_background=False)
        return await self._calls.join(key, call)

    async def _call(self, key: TokenKey, need: Need) -> Obtained:
        try:
            obtained = await self._exchange.obtain(key, replace(need, alone=not await self._purges.flush(key.ref)))
        except BrokerError as error:
            self._note_failure(key, error, in_background=need.fresh)
            raise
        self._last_errors.pop(key.ref, None)
        self._failures.succeeded(key)
        if self._epochs.allows(obtained.token):
            self._memory.put(obtained.token, need.replacing)
        return obtained

    def _note_failure(self, key: TokenKey, error: BrokerError, *, in_background: bool) -> None:
        if isinstance(error, CallerError):
            return  # It says nothing about the tenant.
        self._last_errors[key.ref] = error.code
        if not in_background and not isinstance(error, CredentialNotFoundError):
            self._sink.emit(MintFailed(key.ref, error.code, error.detail))
        # Not for rejections, which the minter remembers per document, nor for absent ones, which may be added any time.
        if not isinstance(error, (CredentialRejectedError, CredentialNotFoundError)):
            self._failures.failed(key, error, self._clock())

    def _start_refresh(self, key: TokenKey, now: float) -> None:
        if key in self._calls or not self._backoff.allows(key, now):
            return
        with suppress(OverloadedError):  # The token is still valid; the next request tries again.
            self._calls.start(key, partial(self._tracer.call, key, partial(self._refresh, key), in_background=True))

    async def _refresh(self, key: TokenKey) -> Obtained:
        """One refresh in the background. Callers do not see its failure: the token in memory is still valid."""
        try:
            obtained = await self._call(key, Need(fresh=True))
        except Exception as error:
            self._backoff.failed(key, error, self._clock())
            self._sink.emit(
                RefreshFailed(key.ref, error.code, error.detail)
                if isinstance(error, BrokerError)
                else TaskFailed("refresh", type(error).__name__)
            )
            raise
        if self._memory.get(key) is obtained.token:
            self._backoff.succeeded(key)
        else:
            # IMS now issues shorter lifetimes, and the aging token outlives the new one: do not mint per request.
            self._backoff.failed(key, None, self._clock())
        return obtained
