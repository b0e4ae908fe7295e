"""How far our clock is ahead of the IMS clock, measured by a header that may contain anything."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from app.adapters.ims.http_date import seconds_ahead
from tests.fakes import NOW


def date_header(at: float) -> str:
    """A Date header as servers send it: whole seconds, rounded down."""
    return format_datetime(datetime.fromtimestamp(int(at), UTC), usegmt=True)


@pytest.mark.parametrize("wrong_by", [0.0, 0.4, 31.0, -31.0, 3600.0])
@pytest.mark.parametrize("round_trip", [0.0, 4.0])
@pytest.mark.parametrize("fraction", [0.0, 0.9])
def test_the_clock_difference_is_accurate_to_half_a_second(wrong_by: float, round_trip: float, fraction: float) -> None:
    """The header gives our clock's error to within half a second, whatever the round-trip time."""
    began = NOW + fraction
    sent = began + wrong_by
    ahead = seconds_ahead(date_header(began + round_trip / 2), sent, sent + round_trip)
    assert ahead == pytest.approx(wrong_by, abs=0.51)


@pytest.mark.parametrize("date", [
    None, "", "now", "0", "-1", "+0100", "1e99", "Mon", "Tue, 99 Foo 2026 99:99:99 GMT", "Tue, 24 Nov 99999 17:00:00",
    "\u00e9", "Tue" * 5000,
])  # fmt: skip
def test_an_invalid_header_gives_no_difference(date: str | None) -> None:
    """A missing or malformed header gives None, and raises nothing."""
    assert seconds_ahead(date, NOW, NOW) is None
