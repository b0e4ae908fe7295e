"""Tokens near their expiry count if their refresh was tried and failed; others do not."""

from __future__ import annotations

import pytest

from app.domain.dependency_errors import ImsUnavailableError
from app.service.backoff import RefreshBackoff
from app.service.failing_refreshes import failing_refreshes
from app.service.memory import TokenMemory
from tests.factories import KEY, make_token
from tests.fakes import DAY, NOW, ManualClock

CLOCK = ManualClock()
HOUR = 3600.0
FAILED = ImsUnavailableError("down")


def counted(left: float, lifetime: float = DAY, failed: float | None = None) -> tuple[int, int]:
    """The counts for one hour and for six, of one token with `left` seconds of `lifetime` left."""
    memory, backoff = TokenMemory(CLOCK, CLOCK), RefreshBackoff()
    now = NOW + lifetime - left
    memory.put(make_token(minted_at=NOW, life=lifetime))
    backoff.failed(KEY, FAILED, now - 1 if failed is None else failed)
    counts = failing_refreshes(memory, backoff, now)
    return counts["1h"], counts["6h"]


@pytest.mark.parametrize(("left", "expected"), [
    (6 * HOUR + 1, (0, 0)), (6 * HOUR, (0, 1)), (HOUR + 1, (0, 1)), (HOUR, (1, 1)), (61, (1, 1)), (60, (0, 0)),
])  # fmt: skip
def test_a_token_of_a_day_counts_by_hours(left: float, expected: tuple[int, int]) -> None:
    """A token of a day counts from six hours and from one hour before its expiry, as long as it can be vended."""
    assert counted(left) == expected


@pytest.mark.parametrize(("left", "expected"), [(101, (0, 0)), (100, (0, 1)), (41, (0, 1)), (40, (1, 1))])
def test_a_shorter_lifetime_counts_by_shares(left: float, expected: tuple[int, int]) -> None:
    """A token of 400 s counts in the last quarter and in the last tenth of its lifetime, not from its beginning."""
    assert counted(left, 400.0) == expected


def test_a_failure_before_the_refresh_was_due_does_not_count() -> None:
    """A refresh that failed before this token's refresh was due was about an earlier token."""
    assert counted(HOUR, failed=NOW + DAY / 2 - 1) == (0, 0)
    assert counted(HOUR, failed=NOW + DAY / 2) == (1, 1)


def test_a_token_without_a_failed_refresh_does_not_count() -> None:
    """An unused token, one that was refreshed, and one whose new token expires no later do not count."""
    memory, backoff = TokenMemory(CLOCK, CLOCK), RefreshBackoff()
    memory.put(make_token(minted_at=NOW, life=DAY))
    now = NOW + DAY - HOUR
    none = {"1h": 0, "6h": 0}
    assert failing_refreshes(memory, backoff, now) == none
    backoff.failed(KEY, None, now)
    assert failing_refreshes(memory, backoff, now) == none
    backoff.failed(KEY, FAILED, now)
    assert failing_refreshes(memory, backoff, now) == {"1h": 1, "6h": 1}
    backoff.succeeded(KEY)
    assert failing_refreshes(memory, backoff, now) == none


def test_a_failure_without_a_token_does_not_count() -> None:
    """A failure for a token that has been purged does not count."""
    backoff = RefreshBackoff()
    backoff.failed(KEY, FAILED, NOW)
    assert failing_refreshes(TokenMemory(CLOCK, CLOCK), backoff, NOW) == {"1h": 0, "6h": 0}
