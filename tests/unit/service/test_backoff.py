"""After a failure, an attempt is not repeated for every request."""

from __future__ import annotations

import pytest

from app.domain.dependency_errors import ImsUnavailableError, OverloadedError
from app.domain.tenant_errors import BadUpstreamResponseError
from app.service.backoff import LONGEST_PAUSE_SECONDS, LONGEST_REFUSAL_SECONDS, RecentFailures, RefreshBackoff
from tests.factories import KEY, OTHER_KEY

NOW = 1_000_000.0
NONSENSE = BadUpstreamResponseError("nonsense")


def longest(_low: float, high: float) -> float:
    """The longest wait that may be drawn."""
    return high


def test_the_wait_doubles_up_to_five_minutes() -> None:
    """After n failures a refresh waits 1, 2, 4, … 300 s."""
    backoff, now, waits = RefreshBackoff(longest), NOW, list[float]()
    for _ in range(11):
        backoff.failed(KEY, NONSENSE, now)
        wait = next(wait for wait in range(1000) if backoff.pause(KEY, now + wait) == 0)
        waits.append(wait)
        now += wait
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert waits[-1] == LONGEST_PAUSE_SECONDS


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_the_wait_has_full_jitter(share: float) -> None:
    """The first wait lies anywhere between 0 and 1 s."""
    backoff = RefreshBackoff(lambda low, high: low + share * (high - low))
    backoff.failed(KEY, NONSENSE, NOW)
    assert backoff.pause(KEY, NOW + share - 0.01) > 0
    assert backoff.pause(KEY, NOW + share) == 0


def test_a_longer_delay_that_ims_asked_for_is_obeyed() -> None:
    """A Retry-After of 120 s replaces the first wait of 1 s."""
    backoff = RefreshBackoff(longest)
    backoff.failed(KEY, ImsUnavailableError("busy", 120.0, throttled=True), NOW)
    assert backoff.pause(KEY, NOW + 119.0) > 0
    assert backoff.pause(KEY, NOW + 120.0) == 0


def test_a_wait_affects_one_key_and_ends_with_a_success() -> None:
    """Another key does not wait, and a success resets the wait."""
    backoff = RefreshBackoff(longest)
    backoff.failed(KEY, NONSENSE, NOW)
    assert backoff.pause(OTHER_KEY, NOW) == 0
    backoff.succeeded(KEY)
    assert backoff.pause(KEY, NOW) == 0


def test_the_rest_of_the_wait_is_known() -> None:
    """A quarter of a second before the end of the wait, a quarter of a second is left."""
    backoff = RefreshBackoff(longest)
    backoff.failed(KEY, NONSENSE, NOW)
    assert backoff.pause(KEY, NOW + 0.75) == 0.25


def test_a_refresh_that_had_no_turn_does_not_wait_longer_each_time() -> None:
    """If nothing was tried, because the broker was overloaded, the wait stays at 1 s."""
    backoff, overloaded = RefreshBackoff(longest), OverloadedError("Too many exchanges.")
    for _ in range(3):
        backoff.failed(KEY, overloaded, NOW)
    assert backoff.pause(KEY, NOW) == 1.0
    backoff.failed(KEY, NONSENSE, NOW)
    assert backoff.pause(KEY, NOW) == 2.0


def test_failed_refreshes_are_listed_until_they_succeed() -> None:
    """With the time of the last failure; a token that IMS repeats near its end waits, but did not fail."""
    backoff = RefreshBackoff(longest)
    backoff.failed(OTHER_KEY, None, NOW)
    backoff.failed(KEY, NONSENSE, NOW)
    backoff.failed(KEY, NONSENSE, NOW + 5.0)
    assert backoff.failures() == ((KEY, NOW + 5.0),)
    assert backoff.pause(OTHER_KEY, NOW) == 1.0
    backoff.succeeded(KEY)
    assert backoff.failures() == ()


def test_a_success_without_a_failure_changes_nothing() -> None:
    """What never failed may succeed."""
    RefreshBackoff().succeeded(KEY)
    RecentFailures().succeeded(KEY)


@pytest.mark.parametrize(("share", "wait"), [(0.5, 0.5), (1.0, 1.0)])
def test_the_wait_of_callers_is_drawn_from_its_second_half(share: float, wait: float) -> None:
    """After two failures in a row, callers get the error again for 0.5 to 1 s."""
    failures = RecentFailures(lambda low, high: low if share == low else high)
    failures.failed(KEY, NONSENSE, NOW)
    failures.failed(KEY, NONSENSE, NOW)
    assert failures.recall(KEY, NOW + wait - 0.01) is NONSENSE
    assert failures.recall(KEY, NOW + wait) is None


def test_one_failure_is_retried_at_once_and_several_in_a_row_are_not() -> None:
    """After the first failure there is no wait; from the second on it is 1, 2, 4, 5, 5 s."""
    failures, now, waits = RecentFailures(longest), NOW, list[float]()
    for _ in range(6):
        failures.failed(KEY, NONSENSE, now)
        wait = next(wait for wait in range(100) if failures.recall(KEY, now + wait) is None)
        waits.append(wait)
        now += wait
    assert waits == [0, 1, 2, 4, 5, 5]
    assert waits[-1] == LONGEST_REFUSAL_SECONDS


def test_a_recent_failure_is_answered_with_the_same_error_until_a_success() -> None:
    """Callers get the remembered error, but not for another key and not after a success."""
    failures = RecentFailures(longest)
    failures.failed(KEY, NONSENSE, NOW)
    failures.failed(KEY, NONSENSE, NOW)
    assert failures.recall(KEY, NOW + 0.5) is NONSENSE
    assert failures.recall(OTHER_KEY, NOW + 0.5) is None
    failures.succeeded(KEY)
    assert failures.recall(KEY, NOW + 0.5) is None


def test_a_clock_that_is_set_back_does_not_prolong_the_wait() -> None:
    """After a step back by an hour, the end of the wait is implausibly far ahead and is ignored."""
    failures = RecentFailures(longest)
    failures.failed(KEY, NONSENSE, NOW)
    failures.failed(KEY, NONSENSE, NOW)
    assert failures.recall(KEY, NOW - 3600.0) is None


def test_failures_are_bounded() -> None:
    """If there are too many failures, the oldest one is dropped."""
    failures = RecentFailures(longest, limit=1)
    for key in (KEY, KEY, OTHER_KEY, OTHER_KEY):
        failures.failed(key, NONSENSE, NOW)
    assert failures.recall(KEY, NOW) is None
    assert failures.recall(OTHER_KEY, NOW) is NONSENSE
