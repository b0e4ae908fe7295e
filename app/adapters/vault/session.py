"""The broker's session at Vault: one token, one login at a time, a deadline for every call."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from app.adapters.vault.config import VaultConfig
from app.adapters.vault.login import Access, log_in, login_meaning, renew
from app.adapters.vault.problems import Meaning, Problem, VaultProblemError, meant
from app.adapters.vault.threads import BoundedThreads
from app.adapters.vault.wire import VaultAdapter
from app.domain.errors import BrokerError, CredentialStoreError
from app.domain.events import DependencyCalled, TaskFailed
from app.ports import EventSink

T = TypeVar("T")

LOGIN_PAUSE = 1.0
"""Seconds after a login before the next one, so that a Vault in trouble is not flooded with them."""

MAX_PAUSE = 30.0
"""Seconds at most between two tries to renew the token."""


class VaultSession:
    """Holds the broker's token and runs calls with it.

    A call that is refused for its token logs in anew, once and together with all others, and is repeated once. A call
    that is refused by Vault's policy is not: a new token would be refused alike.

    Args:
        config: Where Vault is and how to log in.
        events: Told of every call.
        monotonic: A clock in seconds that never steps.
        draw: Random numbers from 0 to 1, for the jitter of renewals.
        threads: Where the blocking calls run; owned by the session from now on.
        outgoing: Further headers of each call; asked once for each.

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
        self._monotonic = monotonic
        self._draw = draw
        self._threads = threads or BoundedThreads()
        self._outgoing = outgoing
        self._access: Access | None = None
        self._changed = asyncio.Event()
        self._login: asyncio.Task[Access] | None = None
        self._last_refusal: tuple[float, str] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._closed = False

    def start(self) -> None:
        """Log in, and from now on renew the token at two thirds of its life. Does not wait for Vault."""
        if self._keeper is None and not self._closed:
            self._keeper = asyncio.create_task(self._keep(), name="vault-session")

    async def aclose(self) -> None:
        """Stop the renewal, break off all calls and close the connections."""
        self._closed = True
        self._threads.close()
        tasks = [task for task in (self._keeper, self._login) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._access is not None:
            self._access.adapter.close()

    def remaining(self) -> float:
        """Seconds until the token ends; NaN where there is none, or where it has no end."""
        access = self._access
        if access is None or access.lifetime <= 0:
            return math.nan
        return max(0.0, access.since + access.lifetime - self._monotonic())

    async def call(self, operation: str, work: Callable[[VaultAdapter], T], meaning: Meaning | None = None) -> T:
        """Run `work`, which blocks, with the present token.

        Args:
            operation: What is done, for the metrics; a constant of the code.
            work: Makes one request and reads its answer.
            meaning: What problems mean to this operation; any other is a `CredentialStoreError`.

        Raises:
            CredentialStoreError: Vault cannot be used, refuses the broker, or does not answer within the deadline.
            BrokerError: What `meaning` says.

        """
        until = asyncio.get_running_loop().time() + self._config.deadline
        access = await self._access_after(None, until)
        try:
            return await self._run(operation, partial(work, access.adapter), until, meaning)
        except VaultProblemError as error:
            problem = error.problem
        if problem is Problem.BAD_TOKEN:
            access = await self._access_after(access, until)
            try:
                return await self._run(operation, partial(work, access.adapter), until, meaning)
            except VaultProblemError as error:
                problem = error.problem
        raise meant(problem, meaning or {})

    async def _access_after(self, refused: Access | None, until: float) -> Access:
        """The present access, if it is another than the one that was refused; else that of a new login."""
        present = self._access
        if present is not None and (refused is None or present.adapter is not refused.adapter):
            return present
        if self._login is None:
            if self._closed:
                raise CredentialStoreError(Problem.CLOSED.value)
            self._login = asyncio.create_task(self._log_in(refused), name="vault-login")
            self._login.add_done_callback(self._login_ended)
        try:
            # Shielded: a caller that goes away must not take the login from the others.
            async with asyncio.timeout_at(until):
                return await asyncio.shield(self._login)
        except TimeoutError:
            raise CredentialStoreError(Problem.SLOW.value) from None

    def _login_ended(self, task: asyncio.Task[Access]) -> None:
        self._login = None
        if not task.cancelled():
            task.exception()  # Somebody may have waited for it, or nobody any more.

    async def _log_in(self, refused: Access | None) -> Access:
        if self._last_refusal is not None:
            at, detail = self._last_refusal
            if self._monotonic() - at < LOGIN_PAUSE:
                raise CredentialStoreError(detail)
        if refused is not None:
            await asyncio.sleep(min(LOGIN_PAUSE, max(0.0, refused.since + LOGIN_PAUSE - self._monotonic())))
        until = asyncio.get_running_loop().time() + self._config.deadline
        try:
            access = await self._run("login", partial(log_in, self._config, self._monotonic), until)
        except VaultProblemError as error:
            detail = meant(error.problem, login_meaning(self._config.auth)).detail
        except CredentialStoreError as unreadable:
            detail = unreadable.detail
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

    async def _run(self, operation: str, work: Callable[[], T], until: float, meaning: Meaning | None = None) -> T:
        started = self._monotonic()
        outcome = CredentialStoreError.code
        try:
            async with asyncio.timeout_at(until):
                result = await self._threads.run(work, self._outgoing())
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except VaultProblemError as error:
            outcome = meant(error.problem, meaning or {}).code
            raise
        except BrokerError as error:
            outcome = error.code
            raise
        else:
            outcome = "ok"
            return result
        finally:
            self._events.emit(DependencyCalled("vault", operation, outcome, self._monotonic() - started))
        raise VaultProblemError(Problem.SLOW)

    async def _keep(self) -> None:
        """Renew the token in time, for ever; a Vault that fails is asked again, ever more seldom."""
        failures = 0
        while True:
            try:
                await self._keep_once()
                failures = 0
            except BrokerError:
                failures += 1
            except Exception as error:  # noqa: BLE001  # a renewal that ends silently is an outage hours later
                failures += 1
                self._events.emit(TaskFailed("vault-session", type(error).__name__))
            if failures:
                await asyncio.sleep(min(MAX_PAUSE, LOGIN_PAUSE * 2 ** min(failures, 10)) * (0.5 + self._draw() / 2))

    async def _keep_once(self) -> None:
        until = asyncio.get_running_loop().time() + 2 * self._config.deadline
        access = await self._access_after(None, until)
        if await self._due(access):
            until = asyncio.get_running_loop().time() + 2 * self._config.deadline
            await self._prolong(access, until)

    async def _due(self, access: Access) -> bool:
        """Wait until `access` should be renewed; False where it was replaced meanwhile."""
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
        """Seconds until two thirds of the life, more or less; None where there is nothing to do."""
        if access.lifetime <= 0 or not (access.renewable or self._config.can_log_in_again):
            return None
        share = 2 / 3 + (self._draw() - 0.5) / 10
        return max(LOGIN_PAUSE / 2, access.since + share * access.lifetime - self._monotonic())

    async def _prolong(self, access: Access, until: float) -> None:
        if access.renewable:
            try:
                renewed = await self._run("renew", partial(renew, access, self._monotonic), until)
            except VaultProblemError as error:
                if error.problem not in {Problem.BAD_TOKEN, Problem.POLICY, Problem.INVALID}:
                    raise meant(error.problem, {}) from None
            else:
                # Near the token's maximum life a renewal gives little: then a new token is due.
                if renewed.lifetime >= access.full / 2 or not self._config.can_log_in_again:
                    self._adopt(renewed)
                    return
        await self._access_after(access, until)
