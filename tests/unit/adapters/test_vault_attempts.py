"""A Vault that is down costs three calls, and then one a second, however many ask."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from app.adapters.vault.attempts import PAUSE_WHILE_DOWN, VaultAttempts
from app.adapters.vault.threads import BoundedThreads
from app.adapters.vault.vault_problem import VaultProblem, VaultProblemError
from tests.fakes import ManualClock
from tests.support.recorded_events import RecordedEvents


class ScriptedVault:
    """Attempts whose calls have one problem, or none."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.problem: VaultProblem | None = None
        self.calls = 0
        self.attempts = VaultAttempts(RecordedEvents(), BoundedThreads(), dict, self.clock, lambda: 0.5)

    async def ask(self) -> VaultProblem | None:
        """Make one call; its problem."""
        try:
            await self.attempts.run("read", self._work, asyncio.get_running_loop().time() + 5.0)
        except VaultProblemError as error:
            return error.problem
        return None

    def _work(self) -> None:
        self.calls += 1
        if self.problem is not None:
            raise VaultProblemError(self.problem)


@pytest.fixture
def vault() -> Iterator[ScriptedVault]:
    """A Vault that works."""
    vault = ScriptedVault()
    yield vault
    vault.attempts.close()


@pytest.mark.parametrize("outage", [VaultProblem.SEALED, VaultProblem.UNREACHABLE, VaultProblem.SLOW])
async def test_a_vault_that_is_down_is_asked_once_a_second(vault: ScriptedVault, outage: VaultProblem) -> None:
    """After three calls in a row all others fail at once, with the same problem, until one succeeds."""
    vault.problem = outage
    assert {await vault.ask() for _ in range(50)} == {outage}
    assert (vault.calls, vault.attempts.circuit_is_open) == (3, True)
    vault.clock.advance(PAUSE_WHILE_DOWN)
    assert {await vault.ask() for _ in range(50)} == {outage}
    assert vault.calls == 4
    vault.problem = None
    vault.clock.advance(PAUSE_WHILE_DOWN)
    assert [await vault.ask() for _ in range(50)] == [None] * 50
    assert not vault.attempts.circuit_is_open


@pytest.mark.parametrize("refusal", [VaultProblem.ABSENT, VaultProblem.POLICY, VaultProblem.SERVER])
async def test_refusals_do_not_open_the_breaker(vault: ScriptedVault, refusal: VaultProblem) -> None:
    """What Vault refuses, or fails at, may concern one path only."""
    vault.problem = refusal
    assert {await vault.ask() for _ in range(50)} == {refusal}
    assert (vault.calls, vault.attempts.circuit_is_open) == (50, False)
