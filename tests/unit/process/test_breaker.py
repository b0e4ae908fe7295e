"""The circuit breaker opens, admits trial calls, and closes."""

from __future__ import annotations

import pytest

from app.process.breaker import CircuitBreaker, State
from tests.fakes import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    """A clock that the test moves."""
    return ManualClock()


@pytest.fixture
def breaker(clock: ManualClock) -> CircuitBreaker:
    """A circuit that opens at the third failure and admits a trial call each second."""
    return CircuitBreaker(clock, threshold=3, pause=1.0)


def opened(breaker: CircuitBreaker) -> CircuitBreaker:
    """The breaker after three failures."""
    for _ in range(3):
        breaker.failed()
    assert breaker.state is State.OPEN
    return breaker


def test_calls_are_made_until_the_third_failure_in_a_row(breaker: CircuitBreaker) -> None:
    """A success in between starts the count again."""
    breaker.failed()
    breaker.failed()
    breaker.succeeded()
    breaker.failed()
    breaker.failed()
    assert not breaker.is_open
    assert breaker.try_acquire()
    breaker.failed()
    assert breaker.is_open
    assert not breaker.try_acquire()


def test_an_open_circuit_admits_one_call_per_pause(breaker: CircuitBreaker, clock: ManualClock) -> None:
    """The trial call is admitted once, and the circuit counts as open until it succeeds."""
    opened(breaker)
    clock.advance(0.999)
    assert not breaker.try_acquire()
    clock.advance(0.001)
    assert [breaker.try_acquire() for _ in range(3)] == [True, False, False]
    assert (breaker.state, breaker.is_open) == (State.HALF_OPEN, True)


def test_a_trial_call_that_succeeds_closes_the_circuit(breaker: CircuitBreaker, clock: ManualClock) -> None:
    """All calls are made again, and three further failures are needed to open it."""
    opened(breaker)
    clock.advance(1.0)
    assert breaker.try_acquire()
    breaker.succeeded()
    assert breaker.state is State.CLOSED
    assert all(breaker.try_acquire() for _ in range(3))
    breaker.failed()
    breaker.failed()
    assert not breaker.is_open


def test_a_trial_call_that_fails_leaves_the_circuit_open(breaker: CircuitBreaker, clock: ManualClock) -> None:
    """The pause is counted from the beginning of the trial call, not from its end."""
    opened(breaker)
    clock.advance(1.0)
    assert breaker.try_acquire()
    clock.advance(0.25)
    breaker.failed()
    assert breaker.state is State.OPEN
    clock.advance(0.5)
    assert not breaker.try_acquire()
    clock.advance(0.25)
    assert breaker.try_acquire()


def test_a_trial_call_without_a_result_does_not_block_the_next(breaker: CircuitBreaker, clock: ManualClock) -> None:
    """A cancelled trial call costs one pause."""
    opened(breaker)
    clock.advance(1.0)
    assert breaker.try_acquire()
    clock.advance(1.0)
    assert breaker.try_acquire()


def test_late_failures_do_not_prolong_the_pause(breaker: CircuitBreaker, clock: ManualClock) -> None:
    """Calls that began before the circuit opened may end after it."""
    opened(breaker)
    clock.advance(0.9)
    breaker.failed()
    clock.advance(0.1)
    assert breaker.try_acquire()


def test_a_late_success_closes_the_circuit(breaker: CircuitBreaker) -> None:
    """A call that gets an answer proves that the system is up."""
    opened(breaker).succeeded()
    assert breaker.try_acquire()
