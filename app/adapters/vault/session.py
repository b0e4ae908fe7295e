"""The broker's session at Vault: one token, one login at a time, a deadline for every call."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from app.adapters.vault.attempts import VaultAttempts
from app.adapters.vault.config import VaultConfig
from app.adapters.vault.login import Access, log_in, login_meaning, renew
from app.adapters.vault.threads import BoundedThreads
from app.adapters.vault.vault_problem import (
    Meaning,
    VaultProblem,
    VaultProblemError,
    meant,
    reason_of,
)
from app.adapters.vault.wire import VaultAdapter
from app.domain.dependency_errors import CredentialStoreError, OverloadedError
from app.domain.errors import BrokerError
from app.ports import EventSink
from app.process.single_flight import SingleFlight
from app.process.supervisor import growing_delay, supervised

T = TypeVar("T")

LOGIN_PAUSE = 1.0
"""Seconds after a login before the next one, so that a Vault in trouble is not flooded with them."""

MAX_PAUSE = 30.0
"""The longest time in seconds between two attempts to renew the token."""

_KEEPER, _LOGIN = "vault-session", "login"


class VaultSession:
    """Holds the broker's token and runs calls with it.

    A call whose token is refused waits for a new login, which all such calls share, and is repeated once. A call that
    Vault's policy denies is not repeated; one that a Vault node refuses only for a moment is (`retry`).

    Args:
        config: The address of Vault, and how to log in.
        events: Takes an event of each call.
        monotonic: A clock in seconds that never steps.
        draw: Random numbers from 0 to 1, for the jitter of renewals.
        threads: Run the blocking calls; the session closes them.
        outgoing: Returns further headers; called once for each call.

    """

    def __init__(
        self,
        config: VaultConfig,
        events: EventSink,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
        threads: BoundedThreads | None = None,
        outgoing: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._config = config
        self._events = events
        self._attempts = VaultAttempts(events, threads or BoundedThreads(), outgoing, monotonic, draw)
        self._monotonic = monotonic
        self._draw = draw
        self._access: Access | None = None
        self._changed = asyncio.Event()
        self._logins = SingleFlight[str, Access](name="vault-login")
        self._last_refusal: tuple[float, str] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._closed = False

    def start(self) -> None:
        """Log in, and then renew the token at two thirds of its lifetime. Does not wait for Vault."""
        if self._keeper is None and not self._closed:
            keep = supervised(_KEEPER, self._keep, self._events, self._pause, expected=BrokerError)
            self._keeper = asyncio.create_task(keep, name=_KEEPER)

    async def aclose(self) -> None:
        """Stop the renewal, cancel all calls and close the connections."""
        self._closed = True
        self._attempts.close()
        ending: list[asyncio.Task[Any]] = [*self._logins.cancel()]
        if self._keeper is not None:
            self._keeper.cancel()
            ending.append(self._keeper)
        await asyncio.gather(*ending, return_exceptions=True)
        if self._access is not None:
            self._access.adapter.close()

    def remaining(self) -> float:
        """Seconds until the token expires; NaN if there is no token, or if it does not expire."""
        if (access := self._access) is None or access.lifetime <= 0:
            return math.nan
        return max(0.0, access.since + access.lifetime - self._monotonic())

    @property
    def circuit_is_open(self) -> bool:
        """Whether Vault did not answer lately, so that most calls fail at once instead of waiting for it."""
        return self._attempts.circuit_is_open

    async def call(
        self, operation: str, work: Callable[[VaultAdapter], T], meaning: Meaning | None = None, deadline: float = 0.0
    ) -> T:
        """Run `work`, which blocks, with the current token.

        Args:
            operation: The operation, for the metrics; a constant of the code.
            work: Makes one request and reads its answer.
            meaning: The errors for some problems of this operation; any other is a `CredentialStoreError`.
            deadline: Seconds; 0 for those of the configuration.

        Raises:
            CredentialStoreError: Vault is unusable, refuses the broker, or does not answer within the deadline.
            BrokerError: The error of `meaning`.

        """
        until = asyncio.get_running_loop().time() + (deadline or self._config.deadline)
        access: Access | None = None
        while True:
            before, access = access, await self._access_after(access, until)
            try:
                return await self._attempts.run(operation, partial(work, access.adapter), until, meaning)
            except VaultProblemError as error:
                # Another one: that of a time-out leads to this task, and so to its error and to this frame, a cycle.
                failure = VaultProblemError(error.problem, error.retry_after)
            if before is not None or failure.problem is not VaultProblem.BAD_TOKEN:
                raise meant(failure, meaning or {})

    async def _access_after(self, refused: Access | None, until: float) -> Access:
        """The current access, or that of a new login if the current one was refused."""
        if (present := self._access) is not None and (refused is None or present.adapter is not refused.adapter):
            return present
        if self._closed and _LOGIN not in self._logins:
            raise CredentialStoreError(VaultProblem.CLOSED.value)
        try:
            async with asyncio.timeout_at(until):
                return await self._logins.join(_LOGIN, partial(self._log_in, refused))
        except TimeoutError:
            raise CredentialStoreError(VaultProblem.SLOW.value) from None
        except OverloadedError:
            raise CredentialStoreError(VaultProblem.CLOSED.value) from None

    async def _log_in(self, refused: Access | None) -> Access:
        if self._last_refusal is not None:
            at, detail = self._last_refusal
            if self._monotonic() - at < LOGIN_PAUSE:
                raise CredentialStoreError(detail)
        if refused is not None:
            await asyncio.sleep(min(LOGIN_PAUSE, max(0.0, refused.since + LOGIN_PAUSE - self._monotonic())))
        until = asyncio.get_running_loop().time() + self._config.deadline
        meaning = login_meaning(self._config.auth)
        try:
            access = await self._attempts.run("login", partial(log_in, self._config, self._monotonic), until, meaning)
        except (VaultProblemError, CredentialStoreError) as error:
            detail = reason_of(meaning, error) or ""
        else:
            self._last_refusal = None
            self._adopt(access)
            return access
        self._last_refusal = (self._monotonic(), detail)
        raise CredentialStoreError(detail)

    def _adopt(self, access: Access) -> None:
        before, self._access = self._access, access
        if before is not None and before.adapter is not access.adapter:
            before.adapter.close()
        self._changed.set()

    def _pause(self, failures: int) -> float:
        return growing_delay(failures, 2 * LOGIN_PAUSE, MAX_PAUSE, self._draw()) if failures else 0.0

    async def _keep(self) -> None:
        """Log in if there is no token yet, wait until the token is due, and renew it once."""
        now, limit = asyncio.get_running_loop().time, 2 * self._config.deadline
        access = await self._access_after(None, now() + limit)
        if await self._due(access):
            await self._prolong(access, now() + limit)

    async def _due(self, access: Access) -> bool:
        """Wait until `access` should be renewed; False if it has been replaced."""
        self._changed.clear()
        if self._access is not access:
            return False
        try:
            async with asyncio.timeout(self._renew_in(access)):
                await self._changed.wait()
        except TimeoutError:
            return self._access is access
        return False

    def _renew_in(self, access: Access) -> float | None:
        """Seconds until about two thirds of its life; None if there is nothing to do."""
        if access.lifetime <= 0 or not (access.renewable or self._config.can_log_in_again):
            return None
        share = 2 / 3 + (self._draw() - 0.5) / 10
        return max(LOGIN_PAUSE / 2, access.since + share * access.lifetime - self._monotonic())

    async def _prolong(self, access: Access, until: float) -> None:
        if access.renewable:
            try:
                renewed = await self._attempts.run("renew", partial(renew, access, self._monotonic), until)
            except VaultProblemError as error:
                if error.problem not in {VaultProblem.BAD_TOKEN, VaultProblem.POLICY, VaultProblem.INVALID}:
                    raise meant(error, {}) from None
            else:
                # Near the maximum lifetime of the token a renewal gives little: then a new token is due.
                if renewed.lifetime >= access.full / 2 or not self._config.can_log_in_again:
                    self._adopt(renewed)
                    return
        await self._access_after(access, until)
