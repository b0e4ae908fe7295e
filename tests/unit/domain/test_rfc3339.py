"""Times in the form of RFC 3339."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.rfc3339 import parse_rfc3339, rfc3339


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("2027-01-31T12:00:00+02:00", 1801389600.0),
        ("2027-01-31T10:00:00.25Z", 1801389600.25),
        ("2027-01-31T09:59:59.123456789-00:00", 1801389599.123456),
    ],
)
def test_a_time_with_an_offset_is_read(text: str, at: float) -> None:
    """Fractions of a second and every offset are understood."""
    assert parse_rfc3339(text) == pytest.approx(at, abs=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        "", "2027-01-31", "2027-01-31T10:00:00", "2027-01-31 10:00:00Z", "2027-01-31T10:00Z", "2027-02-30T10:00:00Z",
        "2027-01-31T24:00:01Z", "2027-01-31T10:00:60Z", "2027-01-31T10:00:00Z\n", "2027-01-31T10:00:00+24:00",
        "20270131T100000Z", "\uff12027-01-31T10:00:00Z",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    """A date alone, a time without its offset, or one that does not exist, is refused."""
    with pytest.raises(ValueError):
        parse_rfc3339(text)


@given(st.integers(min_value=0, max_value=250_000_000_000))
def test_what_is_written_can_be_read(at: int) -> None:
    """Each whole second is read as it was written."""
    assert parse_rfc3339(rfc3339(at)) == at


def test_a_refusal_gives_an_example() -> None:
    """The sentence is constant."""
    with pytest.raises(ValueError) as refused:
        parse_rfc3339("tomorrow")
    assert str(refused.value) == "must be a time in the form of RFC 3339, such as 2027-01-31T00:00:00Z"


def test_a_time_is_written_in_utc_wherever_the_process_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time zone of the machine does not matter."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert rfc3339(1_801_389_600.9) == "2027-01-31T10:00:00Z"
    finally:
        monkeypatch.undo()
        time.tzset()
