"""What a token must be for a request, a refresh or a replacement, as one table."""

from __future__ import annotations

import pytest

from app.domain.access_token import AccessToken
from app.service.exchange_places import Purpose
from app.service.need import Need
from tests.factories import make_token
from tests.fakes import DAY, NOW

TOKEN = make_token(life=DAY)
END, HOUR = NOW + DAY, 3600.0


@pytest.mark.parametrize(("need", "age", "behind", "met"), [
    (Need(), 0.0, 0.0, True), (Need(), DAY - 61.0, 0.0, True), (Need(), DAY - 60.0, 0.0, False),
    (Need(), DAY - 160.0, 99.0, True), (Need(), DAY - 160.0, 100.0, False),
    (Need(fresh=True), DAY / 2 - 1.0, 0.0, True), (Need(fresh=True), DAY / 2, 0.0, False),
    (Need(fresh=True), DAY / 2 - 1.0, HOUR, True),
    (Need(lives_until=END), HOUR, 0.0, True), (Need(lives_until=END + 0.5), HOUR, 0.0, False),
    (Need(lives_until=END - 10.0), HOUR, 10.0, True), (Need(lives_until=END - 10.0), HOUR, 10.5, False),
    (Need(replacing=TOKEN), HOUR, 0.0, False), (Need(replacing=make_token(value="refused")), HOUR, 0.0, True),
])  # fmt: skip
def test_a_need_is_met_by_a_token_that_lives_long_enough_and_is_not_the_refused_one(
    need: Need, age: float, behind: float, met: bool
) -> None:
    """It is not expired, lives until the time needed, is fresh if it must be, and is another one than Adobe refused.

    A clock that is behind brings the end nearer, but does not make the token age.
    """
    assert need.met_by(TOKEN, NOW + age, behind) is met


def test_a_clock_is_right_unless_something_else_is_known() -> None:
    """Without a known difference the token's own end counts, to the second."""
    assert Need(lives_until=END).met_by(TOKEN, NOW)


@pytest.mark.parametrize(("fresh", "replacing", "purpose"), [
    (False, None, Purpose.COLD), (True, None, Purpose.REFRESH),
    (False, TOKEN, Purpose.REPORT), (True, TOKEN, Purpose.REPORT),
])  # fmt: skip
def test_the_purpose_follows_from_the_need(fresh: bool, replacing: AccessToken | None, purpose: Purpose) -> None:
    """A replacement is for a report, also if it must be fresh; what need not be fresh is for a waiting caller."""
    assert Need(fresh=fresh, replacing=replacing).purpose is purpose
