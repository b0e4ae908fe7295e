"""What a request gets, as one table: each state of the token in memory with each way in which its refresh can end.

The rows are those of the contract: fresh is answered; aging is answered, with one refresh behind; critical waits for
the refresh and falls back on the old token; expired is never answered from memory, however the exchange ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from app.domain.access_token import AccessToken, TokenState
from app.domain.dependency_errors import ImsUnavailableError
from app.domain.errors import BrokerError
from app.domain.tenant_errors import CredentialRejectedError
from tests.factories import KEY, ORG, REF
from tests.fakes import DAY
from tests.support.replica_in_memory import ReplicaInMemory, World

ABSENT, FRESH, AGING, CRITICAL, EXPIRED = "absent", "fresh", "aging", "critical", "expired"
AGES = {FRESH: DAY * 0.25, AGING: DAY * 0.75, CRITICAL: DAY - 300.0, EXPIRED: DAY - 59.0}
"""Seconds since the token was minted; it lives a day."""

OLD, NEW = "the old token", "a new token"
ISSUES, REPEATS, SHORTENS, FAILS, REFUSES, HANGS = "issues", "repeats", "shortens", "fails", "refuses", "hangs"


@dataclass(frozen=True)
class StateRow:
    """One row of the table.

    Args:
        state: The state of the token in memory.
        ims: What IMS does with an exchange.
        answer: What a request gets: a token, or the code of an error.
        exchanges: The number of exchanges that the request causes.
        next_answer: What a request gets a moment later, while IMS still does the same.

    """

    state: str
    ims: str
    answer: str
    exchanges: int
    next_answer: str


DOWN, REJECTED = "ims_unavailable", "credential_rejected"
TABLE = [
    *(StateRow(FRESH, ims, OLD, 0, OLD) for ims in (ISSUES, REPEATS, SHORTENS, FAILS, REFUSES, HANGS)),
    StateRow(AGING, ISSUES, OLD, 1, NEW),
    *(StateRow(AGING, ims, OLD, 1, OLD) for ims in (REPEATS, SHORTENS, FAILS, REFUSES, HANGS)),
    StateRow(CRITICAL, ISSUES, NEW, 1, NEW),
    *(StateRow(CRITICAL, ims, OLD, 1, OLD) for ims in (REPEATS, SHORTENS, FAILS, REFUSES, HANGS)),
    *(
        row
        for state in (EXPIRED, ABSENT)
        for row in (
            StateRow(state, ISSUES, NEW, 1, NEW),
            StateRow(state, FAILS, DOWN, 1, DOWN),
            StateRow(state, REFUSES, REJECTED, 1, REJECTED),
            StateRow(state, HANGS, DOWN, 1, DOWN),
        )
    ),
    StateRow(EXPIRED, REPEATS, OLD, 1, OLD),  # Not from memory: IMS has just said how long it still lives.
    StateRow(EXPIRED, SHORTENS, NEW, 1, NEW),  # Shorter than the old one was, but it lives.
    StateRow(ABSENT, SHORTENS, NEW, 1, NEW),
]
IMPOSSIBLE = {(ABSENT, REPEATS)}
"""Without a token there is nothing to repeat."""


def test_the_table_is_whole() -> None:
    """Each state with each outcome is one row, except those that cannot be."""
    states = {*map(str, TokenState), ABSENT}
    outcomes = {ISSUES, REPEATS, SHORTENS, FAILS, REFUSES, HANGS}
    rows = [(row.state, row.ims) for row in TABLE]
    assert sorted(rows) == sorted({(state, ims) for state in states for ims in outcomes} - IMPOSSIBLE)


def play(world: World, ims: str) -> None:
    """Let IMS do as the row says, from now on."""
    exchanger = world.exchanger
    match ims:
        case "repeats":
            exchanger.repeats = True
        case "shortens":
            exchanger.lifetime = 200.0  # Less than a critical token has left.
        case "fails":
            exchanger.failures[ORG] = ImsUnavailableError("down", retry_after=1.0)
        case "refuses":
            exchanger.failures[ORG] = CredentialRejectedError("invalid_client", None, secret_refused=False)
        case "hangs":
            exchanger.calls(ORG).pause()
        case _:
            assert ims == ISSUES


async def answer(replica: ReplicaInMemory, old: AccessToken | None) -> str:
    """What one request gets, in the words of the table."""
    try:
        obtained = await replica.vend()
    except BrokerError as error:
        return error.code
    assert obtained.token.key == KEY
    assert obtained.token.usable_until > replica.clock()
    return OLD if old is not None and obtained.token.value == old.value else NEW


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.state}-{row.ims}")
async def test_the_state_and_the_refresh_decide_the_answer(
    row: StateRow, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row: the answer, the exchanges that it costs, and the answer after the refresh has ended."""
    if row.ims == HANGS:  # Only here must the waits run out; elsewhere a busy machine must not end them.
        monkeypatch.setattr("app.service.vend.CRITICAL_WAIT_SECONDS", 0.01)
    replica = ReplicaInMemory(world, longest_seconds=0.5 if row.ims == HANGS else 20.0)
    old = None if row.state == ABSENT else (await replica.vend()).token
    if old is not None:
        world.clock.advance(AGES[row.state])
        assert replica.memory.state(KEY) == row.state
    before = world.exchanges
    play(world, row.ims)
    assert await answer(replica, old) == row.answer
    await replica.until_idle()
    assert world.exchanges - before == row.exchanges
    assert await answer(replica, old) == row.next_answer
    await replica.until_idle()
    world.exchanger.calls(ORG).resume()
    assert replica.vendor.last_error(REF) == {FAILS: DOWN, REFUSES: REJECTED, HANGS: DOWN}.get(
        row.ims if row.state != FRESH else ISSUES
    )
