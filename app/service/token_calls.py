"""The calls in flight that obtain tokens: at most one per key, in the background or for all requests that wait."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from functools import partial

from cachetools import LRUCache

from app.domain.access_token import TokenState
from app.domain.dependency_errors import OverloadedError
from app.domain.errors import BrokerError, CallerError
from app.domain.events import MintFailed, RefreshFailed, TaskFailed
from app.domain.names import CredentialRef, TokenKey
from app.domain.tenant_errors import CredentialNotFoundError, CredentialRejectedError
from app.ports import Clock, EventSink, Tracer
from app.process.single_flight import SingleFlight
from app.service.backoff import RecentFailures, RefreshBackoff
from app.service.epochs import Epochs
from app.service.memory import TokenMemory
from app.service.need import Need, Obtained
from app.service.purges import Purges
from app.service.shared_exchange import SharedExchange

MAX_CALLS = 2_000
"""The number of calls in flight in one replica; one more gets `overloaded`."""

MAX_CALLS_OF_ORG = 100
"""The number of those for one org: each set of scopes is another call, and a hanging org leaves the others theirs."""

MAX_WAITERS = 2_000
"""The number of requests that may wait for one token, so that a hanging tenant leaves capacity for the others."""

MAX_LAST_ERRORS = 10_000
"""The number of credentials whose last error is remembered."""


class TokenCalls:
    """Calls that obtain tokens, and keep them in memory.

    Args:
        memory: The front cache.
        exchange: Obtains tokens that are not in memory.
        purges: Sends missed purges to the shared cache before its answer is trusted.
        epochs: The known purges.
        sink: Listens to events.
        clock: Unix time in seconds.
        backoff: Decides when failed refreshes are retried.
        tracer: Draws spans around calls.

    """

    def __init__(
        self,
        memory: TokenMemory,
        exchange: SharedExchange,
        purges: Purges,
        epochs: Epochs,
        sink: EventSink,
        clock: Clock,
        backoff: RefreshBackoff,
        tracer: Tracer,
    ) -> None:
        self._memory = memory
        self._exchange = exchange
        self._purges = purges
        self._epochs = epochs
        self._sink = sink
        self._clock = clock
        self._backoff = backoff
        self._tracer = tracer
        self._failures = RecentFailures()
        self._running = _running_calls()
        self._last_errors = LRUCache[CredentialRef, str](MAX_LAST_ERRORS)

    def __contains__(self, key: TokenKey) -> bool:
        return key in self._running

    def __len__(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        """The number of requests that wait for a call."""
        return self._running.waiting

    def last_error(self, ref: CredentialRef) -> str | None:
        """The code of the error with which the last minting for `ref` ended here, or None if it succeeded."""
        return self._last_errors.get(ref)

    async def aclose(self, grace: float) -> None:
        """Let running calls finish for `grace` seconds."""
        await self._running.aclose(grace)

    def refresh(self, key: TokenKey, now: float) -> asyncio.Task[Obtained] | None:
        """The running call for `key`, or a new one that refreshes its token; None while it must not be tried.

        Args:
            key: The key of a token in memory.
            now: Unix time in seconds.

        """
        if key not in self._running and self._backoff.pause(key, now) > 0:
            return None
        call = partial(self._tracer.call, key, partial(self._refresh, key), in_background=True)
        with suppress(OverloadedError):  # The token is still valid; the next request, or the keeper, tries again.
            return self._running.start(key, call)
        return None

    async def wait_for_refresh(self, key: TokenKey, now: float, seconds: float) -> None:
        """Refresh the token of `key`, and wait for it for at most `seconds`; whether it succeeds does not matter."""
        if self.refresh(key, now) is not None:
            self._tracer.joins(key)
            with suppress(Exception):  # `_refresh` reports it.
                async with asyncio.timeout(seconds):
                    await self._running.join(key, partial(self._refresh, key))

    async def join(self, key: TokenKey, need: Need) -> Obtained:
        """Wait for the running call for `key`, or for a new one that obtains what meets `need`.

        Raises:
            BrokerError: The call failed, or one like it failed a moment ago.

        """
        if key in self._running:
            self._tracer.joins(key)
        else:
            recent = self._failures.recall(key, self._clock())
            if recent is not None:
                raise recent.copied()
        call = partial(self._tracer.call, key, partial(self._call, key, need), in_background=False)
        return await self._running.join(key, call)

    async def _call(self, key: TokenKey, need: Need) -> Obtained:
        try:
            alone = not await self._purges.flush(key.ref)
            behind = self._memory.clock_behind(key)
            if alone or behind:
                need = replace(need, alone=alone, behind=behind)
            obtained = await self._exchange.obtain(key, need)
        except BrokerError as error:
            self._note_failure(key, error, in_background=need.fresh)
            raise
        self._last_errors.pop(key.ref, None)
        self._failures.succeeded(key)
        if self._epochs.allows(obtained.token):
            self._memory.put(obtained.token, need.replacing, obtained.behind)
        return obtained

    def _note_failure(self, key: TokenKey, error: BrokerError, *, in_background: bool) -> None:
        if isinstance(error, CallerError):
            return  # It says nothing about the tenant.
        self._last_errors[key.ref] = error.code
        if not in_background and not isinstance(error, CredentialNotFoundError):
            self._sink.emit(MintFailed(key.ref, error.code, error.detail))
        # Not for rejections, which the minter remembers per document, nor for absent ones, which may be added any time.
        if not isinstance(error, (CredentialRejectedError, CredentialNotFoundError)):
            self._failures.failed(key, error.copied(), self._clock())

    async def _refresh(self, key: TokenKey) -> Obtained:
        """One refresh in the background. Callers do not see its failure: the token in memory is still valid."""
        try:
            obtained = await self._call(key, Need(fresh=True, current=self._memory.get(key)))
        except Exception as error:
            self._backoff.failed(key, error, self._clock())
            self._sink.emit(
                RefreshFailed(key.ref, error.code, error.detail)
                if isinstance(error, BrokerError)
                else TaskFailed("refresh", type(error).__name__)
            )
            raise
        if self._memory.state(key) is TokenState.FRESH:
            self._backoff.succeeded(key)
        else:
            # Near its end there is still no token that lives longer: do not ask IMS per request.
            self._backoff.failed(key, None, self._clock())
        return obtained


def _running_calls() -> SingleFlight[TokenKey, Obtained]:
    """No calls yet, within the limits."""
    return SingleFlight(
        MAX_CALLS,
        MAX_WAITERS,
        name="token",
        too_many_calls="Too many tenants wait for a new token at once.",
        too_many_waiters="Too many requests wait for a token of this tenant.",
        group=lambda key: key.ref.org,
        group_limit=MAX_CALLS_OF_ORG,
        too_many_in_group="Too many different tokens of this tenant are requested at once.",
    )
