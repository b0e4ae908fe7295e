"""The states of a token, as one table: what two clocks say about its age decides."""

from __future__ import annotations

import pytest

from app.domain.access_token import TokenState
from app.domain.held_token import HeldToken
from tests.factories import make_token
from tests.fakes import DAY, NOW

FRESH, AGING, CRITICAL, EXPIRED = TokenState
HOUR = 3600.0


@pytest.mark.parametrize(("life", "age", "state"), [
    (DAY, 0.0, FRESH), (DAY, DAY / 2 - 1, FRESH), (DAY, DAY / 2, AGING),
    (DAY, DAY - 601, AGING), (DAY, DAY - 600, CRITICAL), (DAY, DAY - 61, CRITICAL),
    (DAY, DAY - 60, EXPIRED), (DAY, DAY, EXPIRED), (DAY, DAY + HOUR, EXPIRED), (DAY, -HOUR, FRESH),
    (40.0, 19.0, FRESH), (40.0, 20.0, AGING), (40.0, 35.9, AGING),
    (40.0, 36.0, CRITICAL), (40.0, 38.9, CRITICAL), (40.0, 39.0, EXPIRED), (40.0, 40.0, EXPIRED),
])  # fmt: skip
def test_the_state_follows_from_the_age(life: float, age: float, state: TokenState) -> None:
    """A token is fresh to half of its life, critical in its last 10 min or tenth, expired in its last 60 s or 2.5 %."""
    assert make_token(life=life).state(NOW + age) is state


AGES = {"fresh": HOUR, "aging": 13 * HOUR, "critical": DAY - 300.0, "expired": DAY - 30.0}
"""Ages of a token of a day, by the state that they mean."""


@pytest.mark.parametrize(("steady", "wall", "state"), [
    ("fresh", "fresh", FRESH), ("fresh", "aging", FRESH), ("fresh", "critical", CRITICAL),
    ("fresh", "expired", EXPIRED), ("aging", "fresh", AGING), ("aging", "aging", AGING),
    ("aging", "critical", CRITICAL), ("aging", "expired", EXPIRED),
    ("critical", "fresh", CRITICAL), ("critical", "aging", CRITICAL), ("critical", "critical", CRITICAL),
    ("critical", "expired", EXPIRED), ("expired", "fresh", EXPIRED), ("expired", "aging", EXPIRED),
    ("expired", "critical", EXPIRED), ("expired", "expired", EXPIRED),
])  # fmt: skip
def test_the_later_clock_decides_about_the_end_and_the_steady_one_about_the_refresh(
    steady: str, wall: str, state: TokenState
) -> None:
    """The greater of the ages by both clocks makes a token critical or expired; only the steady one makes it aging."""
    held = HeldToken(make_token(life=DAY), lead=NOW - 50.0, behind=0.0, used_at=50.0, due=0.0)
    assert held.state(NOW + AGES[wall], 50.0 + AGES[steady]) is state


@pytest.mark.parametrize(("behind", "state"), [
    (0.0, AGING), (DAY - 13 * HOUR - 601, AGING), (DAY - 13 * HOUR - 600, CRITICAL), (DAY - 13 * HOUR - 60, EXPIRED),
])  # fmt: skip
def test_a_replica_whose_clock_is_behind_counts_that_to_the_age(behind: float, state: TokenState) -> None:
    """What the wall clock was behind brings the end nearer, once: also if that clock was put right since."""
    held = HeldToken(make_token(life=DAY), lead=NOW, behind=behind, used_at=0.0, due=0.0)
    assert held.state(NOW + 13 * HOUR, 13 * HOUR) is state
    assert held.latest(NOW + 13 * HOUR + behind, 13 * HOUR) == NOW + 13 * HOUR + behind


def test_there_are_four_states() -> None:
    """The tables above name every state."""
    assert {state.value for state in TokenState} == set(AGES)


@pytest.mark.parametrize(("life", "share", "refresh"), [
    (DAY, 0.5, DAY - 1_200.0), (40.0, 0.5, 32.0), (DAY, 0.999, DAY * 0.999),
])  # fmt: skip
def test_a_token_that_ims_repeats_is_asked_for_again_near_its_end(life: float, share: float, refresh: float) -> None:
    """At twice the critical time before its end, and never earlier than it was due anyway."""
    token = make_token(life=life, refresh_share=share).asked_again_near_its_end()
    assert token.refresh_at - NOW == pytest.approx(refresh)
    assert token.expires_at == NOW + life
