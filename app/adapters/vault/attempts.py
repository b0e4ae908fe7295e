"""Attempts of calls to Vault: in threads, within a deadline, with one event each, and none while Vault is down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from app.adapters.vault.retry import retried
from app.adapters.vault.threads import BoundedThreads
from app.adapters.vault.vault_problem import OUTAGES, Meaning, VaultProblem, VaultProblemError, outcome_of, reason_of
from app.ports import EventSink
from app.process.breaker import CircuitBreaker
from app.process.observed_call import ObservedCall

T = TypeVar("T")

PAUSE_WHILE_DOWN = 1.0
"""Seconds between two trials while Vault is down; other calls fail at once, with the problem of the last one."""


class VaultAttempts:
    """Makes attempts, and repeats those that Vault refuses only for a moment (`retry`).

    Args:
        events: Takes an event of each attempt.
        threads: Run the blocking calls.
        outgoing: Returns further headers; called once for each attempt.
        monotonic: A clock in seconds that never steps.
        draw: Random numbers from 0 to 1, for the jitter of pauses.

    """

    def __init__(
        self,
        events: EventSink,
        threads: BoundedThreads,
        outgoing: Callable[[], Mapping[str, str]],
        monotonic: Callable[[], float],
        draw: Callable[[], float],
    ) -> None:
        self._events = events
        self._threads = threads
        self._outgoing = outgoing
        self._monotonic = monotonic
        self._draw = draw
        self._breaker = CircuitBreaker(monotonic, pause=PAUSE_WHILE_DOWN)
        self._last_outage = VaultProblem.UNREACHABLE

    @property
    def circuit_is_open(self) -> bool:
        """Whether Vault did not answer lately, so that most calls fail at once instead of waiting for it."""
        return self._breaker.is_open

    def close(self) -> None:
        """Abort running attempts."""
        self._threads.close()

    async def run(self, operation: str, work: Callable[[], T], until: float, meaning: Meaning | None = None) -> T:
        """Run `work` in a thread.

        Args:
            operation: For the metrics; a constant of the code.
            work: Makes one request and reads its answer; it blocks.
            until: The deadline, by the clock of the event loop.
            meaning: The errors for some problems of this operation, for the event.

        Raises:
            VaultProblemError: It failed.

        """
        return await retried(partial(self._attempt, operation, work, until, meaning or {}), until, self._draw)

    async def _attempt(self, operation: str, work: Callable[[], T], until: float, meaning: Meaning) -> T:
        if not self._breaker.try_acquire():
            raise VaultProblemError(self._last_outage, PAUSE_WHILE_DOWN)
        outcomes, reasons = partial(outcome_of, meaning), partial(reason_of, meaning)
        with ObservedCall(self._events, "vault", operation, outcomes, reason_of=reasons, monotonic=self._monotonic):
            try:
                result = await self._within(work, until)
            except VaultProblemError as error:
                self._note(error.problem)
                raise
        self._breaker.succeeded()
        return result

    async def _within(self, work: Callable[[], T], until: float) -> T:
        try:
            async with asyncio.timeout_at(until):
                return await self._threads.run(work, self._outgoing())
        except TimeoutError:
            raise VaultProblemError(VaultProblem.SLOW) from None

    def _note(self, problem: VaultProblem) -> None:
        if problem in OUTAGES:
            self._last_outage = problem
            self._breaker.failed()
        elif problem not in {VaultProblem.SATURATED, VaultProblem.CLOSED}:
            self._breaker.succeeded()
