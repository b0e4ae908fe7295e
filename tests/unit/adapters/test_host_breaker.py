"""The breaker of an IMS host opens if the host is down, and never because of one tenant."""

from __future__ import annotations

import pytest

from app.adapters.ims.host_breaker import FAILING_ORGS, Attempt, Evidence, HostBreaker, HostBreakers
from tests.fakes import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    """A clock that the test moves."""
    return ManualClock()


@pytest.fixture
def breaker(clock: ManualClock) -> HostBreaker:
    """Closed."""
    return HostBreaker(clock)


def started(breaker: HostBreaker, org: str) -> Attempt:
    """A call that the breaker admits."""
    attempt = breaker.start(org)
    assert attempt is not None
    return attempt


def call(breaker: HostBreaker, org: str, evidence: Evidence) -> None:
    """A call that ends at once."""
    breaker.end(started(breaker, org), evidence, evidence.value)


def test_three_connections_in_a_row_that_cannot_be_made_open_it(breaker: HostBreaker, clock: ManualClock) -> None:
    """Also those of one org; then one call a second is made, and the first answer closes it."""
    for _ in range(3):
        assert not breaker.is_open
        call(breaker, "a", Evidence.UNREACHABLE)
    assert (breaker.is_open, breaker.last_detail) == (True, "unreachable")
    assert breaker.start("b") is None
    clock.advance(1.0)
    trial = started(breaker, "a")
    assert breaker.start("b") is None
    breaker.end(trial, Evidence.ANSWERED, "")
    assert not breaker.is_open


def test_refusals_of_tenants_never_open_it(breaker: HostBreaker) -> None:
    """An answer, whatever it says, shows that the host works; so does one between failures."""
    for number in range(100):
        call(breaker, f"refused-{number}", Evidence.ANSWERED)
        call(breaker, f"failing-{number}", Evidence.FAILED)
    assert not breaker.is_open


def test_one_tenant_that_fails_or_hangs_does_not_open_it(breaker: HostBreaker) -> None:
    """However often it is tried."""
    for _ in range(1000):
        call(breaker, "one", Evidence.FAILED)
    assert not breaker.is_open


def test_a_host_at_which_many_orgs_in_a_row_fail_is_skipped(breaker: HostBreaker, clock: ManualClock) -> None:
    """An org that has not failed is still tried at once, one at a time; the others once a second."""
    for number in range(FAILING_ORGS):
        assert not breaker.is_open
        call(breaker, f"failing-{number}", Evidence.FAILED)
    assert breaker.is_open
    assert breaker.start("failing-3") is None
    trial = started(breaker, "another")
    assert breaker.start("third") is None
    breaker.end(trial, Evidence.FAILED, "late")
    clock.advance(1.0)
    call(breaker, "failing-3", Evidence.ANSWERED)
    assert not breaker.is_open


def test_hanging_calls_do_not_count_if_the_host_answered_others_meanwhile(
    breaker: HostBreaker, clock: ManualClock
) -> None:
    """Tenants that hang at a host that works keep it open for the others."""
    hanging = [started(breaker, f"hanging-{number}") for number in range(100)]
    clock.advance(1.0)
    call(breaker, "served", Evidence.ANSWERED)
    clock.advance(9.0)
    for attempt in hanging:
        breaker.end(attempt, Evidence.FAILED, "late")
    assert not breaker.is_open


def test_calls_that_say_nothing_change_nothing(breaker: HostBreaker) -> None:
    """A cancelled call, for instance."""
    for number in range(100):
        call(breaker, str(number), Evidence.NONE)
    assert not breaker.is_open


def test_each_host_has_a_breaker_of_its_own(clock: ManualClock) -> None:
    """One host that is down does not concern another one; its paths share one breaker."""
    breakers = HostBreakers(clock)
    for path in ("/a", "/b", "/c"):
        call(breakers.of(f"https://down.example{path}"), "a", Evidence.UNREACHABLE)
    assert breakers.any_is_open
    assert not breakers.of("https://other.example/a").is_open
