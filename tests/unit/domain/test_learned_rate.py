"""The rate that IMS teaches: no limit until a 429, then half of the rate, which rises until it is forgotten."""

from __future__ import annotations

import pytest

from app.domain.learned_rate import (
    FORGOTTEN_RATE,
    HALVING_PAUSE,
    LEAST_RATE,
    REFUSED_RISE,
    REFUSED_SHARE,
    REMEMBERED_SECONDS,
    RISE,
    LearnedRate,
)


def taken(rate: LearnedRate, now: float, *, was_refused: bool = False, most: int = 1_000) -> int:
    """How many calls may be made at once at `now`."""
    count = 0
    while count < most and rate.take(now, was_refused=was_refused) == 0.0:
        count += 1
    return count


def halved(calls: int) -> LearnedRate:
    """A rate after so many calls in one moment, 0, and a 429."""
    rate = LearnedRate(0.0)
    assert taken(rate, 0.0, most=calls) == calls
    rate.throttled(0.0)
    return rate


def test_before_the_first_429_there_is_no_limit() -> None:
    """Any number of calls may be made at once, those of refused credentials too."""
    rate = LearnedRate(0.0)
    assert taken(rate, 0.0) == 1_000
    assert taken(rate, 0.0, was_refused=True) == 1_000


@pytest.mark.parametrize(("calls", "learned"), [
    (10, 5.0), (100, 50.0), (1_000, FORGOTTEN_RATE / 2), (0, LEAST_RATE), (1, 0.5),
])  # fmt: skip
def test_a_429_halves_the_calls_of_the_last_second(calls: int, learned: float) -> None:
    """The rate is half of the recent calls within bounds, and the next call waits for a whole part of it."""
    rate = halved(calls)
    assert rate.rate == learned
    assert rate.take(0.0, was_refused=False) == pytest.approx(1.0 / learned)


def test_calls_count_less_the_longer_ago_they_were() -> None:
    """Ten calls of three seconds ago are hardly half a call of the last second: the least rate is tried."""
    rate = LearnedRate(0.0)
    taken(rate, 0.0, most=10)
    rate.throttled(3.0)
    assert rate.rate == pytest.approx(10 * 2.718281828**-3 / 2)


def test_several_429s_of_one_moment_count_once() -> None:
    """Within the pause another 429 changes nothing; after it the rate is halved again, though never below the least."""
    rate = halved(40)
    rate.throttled(HALVING_PAUSE - 0.01)
    assert rate.rate == pytest.approx(20.0 + RISE * (HALVING_PAUSE - 0.01))
    rate.throttled(HALVING_PAUSE)
    assert rate.rate == pytest.approx((20.0 + RISE * HALVING_PAUSE) / 2)
    for times in range(2, 30):
        rate.throttled(times * HALVING_PAUSE)
    assert rate.rate == LEAST_RATE


def test_the_wait_that_is_answered_is_long_enough_and_not_much_too_long() -> None:
    """After the wait a call may be made; a tenth earlier it may not."""
    rate = halved(10)
    wait = rate.take(0.0, was_refused=False)
    early = rate.take(wait * 0.9, was_refused=False)
    assert 0.0 < early < wait
    assert rate.take(wait, was_refused=False) == 0.0
    assert rate.take(wait, was_refused=False) > 0.0


def test_unused_calls_add_up_to_one_second() -> None:
    """After a long pause, as many calls may be made at once as the rate allows in a second; at a low rate, one."""
    assert taken(halved(10), 10.0) == 6
    assert taken(halved(0), 7.0) == 1


def test_the_rate_rises_until_it_is_forgotten() -> None:
    """It rises by a tenth of a call per second each second; at its end there is no limit, and so after an hour."""
    until = (FORGOTTEN_RATE - 50.0) / RISE
    assert taken(halved(1_000), until - 10.0) == int(FORGOTTEN_RATE - 10.0 * RISE)
    assert taken(halved(1_000), until) == 1_000
    assert taken(halved(0), REMEMBERED_SECONDS) == 1_000


def test_after_it_is_forgotten_a_429_is_learned_again() -> None:
    """The next 429 halves the calls of its own last second, and not the forgotten rate."""
    rate = halved(1_000)
    assert taken(rate, REMEMBERED_SECONDS, most=8) == 8
    rate.throttled(REMEMBERED_SECONDS)
    assert rate.rate == 4.0


def test_refused_credentials_share_a_small_part() -> None:
    """After one call for a refused credential, the next waits minutes, or for fifty calls of others."""
    rate = halved(100)
    assert taken(rate, 1.0, was_refused=True) == 1
    wait = rate.take(1.0, was_refused=True)
    assert wait == pytest.approx(1.0 / REFUSED_RISE)
    calls = round(1.0 / REFUSED_SHARE)
    assert taken(rate, 2.0, most=calls) == calls
    assert rate.take(2.0, was_refused=True) < 1.0
    assert taken(rate, 3.0, was_refused=True) == 1


def test_alone_a_refused_credential_is_tried_again_after_two_minutes() -> None:
    """The part of refused credentials also rises with time, to one call and no further."""
    rate = halved(100)
    assert taken(rate, 1.0, was_refused=True) == 1
    assert rate.take(61.0, was_refused=True) == pytest.approx(0.5 / REFUSED_RISE)
    assert taken(rate, 121.5, was_refused=True) == 1
    assert taken(rate, 450.0, was_refused=True) == 1


def test_a_refused_credential_also_waits_for_the_rate() -> None:
    """With a part of its own left, it still waits as any other call does."""
    rate = halved(10)
    assert rate.take(0.0, was_refused=True) == pytest.approx(0.2)


def test_a_clock_that_is_set_back_gains_no_call() -> None:
    """Time that seems negative adds nothing."""
    rate = halved(10)
    assert taken(rate, 1.0) == 5
    assert rate.take(0.5, was_refused=False) > 0.0


def test_calls_of_others_save_up_one_call_for_refused_credentials() -> None:
    """However many other calls were made, a refused credential has one call and not several."""
    rate = halved(100)
    for second in range(1, 10):
        assert taken(rate, float(second)) > 40
    assert taken(rate, 12.0, was_refused=True) == 1
