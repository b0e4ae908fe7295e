"""The token bucket: how many requests pass, how long the others wait, and the effect of a clock that jumps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.rate_limit import RateLimit, TokenBucket


def passing(bucket: TokenBucket, now: float, tries: int) -> int:
    """How many of `tries` requests at `now` pass."""
    return sum(bucket.take(now) == 0.0 for _ in range(tries))


@pytest.mark.parametrize("limit", [RateLimit(1, 1.0), RateLimit(200, 1.0), RateLimit(600, 60.0), RateLimit(5, 3600.0)])
def test_the_requests_of_one_period_pass_at_once(limit: RateLimit) -> None:
    """The burst is exactly the number in the limit."""
    bucket = TokenBucket(limit)
    assert passing(bucket, 1000.0, 2 * limit.requests) == limit.requests


@pytest.mark.parametrize("limit", [RateLimit(1, 1.0), RateLimit(200, 1.0), RateLimit(7, 60.0), RateLimit(3, 3600.0)])
def test_a_request_passes_after_the_returned_wait(limit: RateLimit) -> None:
    """The returned wait is long enough, and half of it is not."""
    bucket = TokenBucket(limit)
    now = 1e9
    passing(bucket, now, limit.requests)
    wait = bucket.take(now)
    assert wait == pytest.approx(limit.seconds / limit.requests)
    assert bucket.take(now + wait / 2) > 0.0
    assert bucket.take(now + wait) == 0.0


def test_the_bucket_fills_evenly() -> None:
    """After a tenth of the period a tenth of the requests pass."""
    bucket = TokenBucket(RateLimit(100, 1.0))
    passing(bucket, 10.0, 100)
    assert passing(bucket, 10.1, 100) == 10


def test_idling_saves_at_most_one_period() -> None:
    """After an hour without requests, no more than one period's requests pass."""
    bucket = TokenBucket(RateLimit(10, 1.0))
    passing(bucket, 0.0, 10)
    assert passing(bucket, 3600.0, 100) == 10


def test_a_clock_that_steps_back_locks_no_one_out() -> None:
    """After a step back by an hour the bucket keeps filling at its rate."""
    bucket = TokenBucket(RateLimit(10, 1.0))
    passing(bucket, 7200.0, 10)
    assert bucket.take(3600.0) == pytest.approx(0.1)
    assert passing(bucket, 3600.5, 100) == 5


@given(
    limit=st.builds(RateLimit, st.integers(1, 1000), st.sampled_from([1.0, 60.0, 3600.0])),
    steps=st.lists(st.floats(0.0, 10.0), max_size=200),
)
def test_never_more_than_burst_plus_rate(limit: RateLimit, steps: list[float]) -> None:
    """In any period no more requests pass than the burst plus the rate times its length, whatever the rhythm."""
    bucket = TokenBucket(limit)
    now = start = 50.0
    passed = 0
    for step in steps:
        now += step
        passed += bucket.take(now) == 0.0
    assert passed <= limit.requests + (now - start) * limit.requests / limit.seconds + 1e-5


@given(times=st.lists(st.floats(-1e12, 1e12), max_size=100))
def test_the_wait_is_bounded_whatever_the_clock_does(times: list[float]) -> None:
    """Whatever the clock does, the wait is between zero and one request's share of the period."""
    bucket = TokenBucket(RateLimit(2, 60.0))
    assert all(0.0 <= bucket.take(now) <= 30.001 for now in times)


@pytest.mark.parametrize("limit", [RateLimit(200, 1.0), RateLimit(7, 60.0), RateLimit(1, 1.0), RateLimit(3, 3600.0)])
@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_the_parts_of_all_workers_are_the_limit(limit: RateLimit, workers: int) -> None:
    """Together they have the rate of the limit, and its burst, or one request each if they are more than that."""
    part = limit.part(workers)
    assert part.rate * workers == pytest.approx(limit.rate)
    assert 1 <= part.requests <= limit.requests
    assert part.requests * workers <= max(limit.requests, workers)


def test_the_wait_is_known_without_a_request() -> None:
    """Asking how long to wait takes nothing; nothing is to wait for while a whole request is left."""
    bucket = TokenBucket(RateLimit(2, 1.0))
    assert bucket.wait(100.0) == 0.0
    assert [bucket.take(100.0), bucket.wait(100.0), bucket.take(100.0)] == [0.0, 0.0, 0.0]
    assert [bucket.wait(100.0), bucket.wait(100.25), bucket.wait(100.5), bucket.wait(99.0)] == [0.5, 0.25, 0.0, 0.5]
