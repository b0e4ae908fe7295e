"""Each observed call emits one event, however it ends."""

from __future__ import annotations

import asyncio

import pytest

from app.domain.dependency_errors import ImsUnavailableError
from app.domain.events import DependencyCalled
from app.process.observed_call import ObservedCall
from tests.fakes import ManualClock
from tests.support.recorded_events import RecordedEvents


def outcome_of(error: BaseException) -> str:
    """The label of a failure."""
    return "late" if isinstance(error, TimeoutError) else "broken"


class Calls:
    """Observed calls that take two seconds each."""

    def __init__(self) -> None:
        self.sink = RecordedEvents()
        self.clock = ManualClock()

    def run(self, error: BaseException | None, *, only_failures: bool = False) -> ObservedCall:
        """Make a call that ends with `error`."""
        call = ObservedCall(self.sink, "redis", "read", outcome_of, monotonic=self.clock, only_failures=only_failures)
        with call:
            self.clock.advance(2.0)
            if error is not None:
                raise error
        return call


@pytest.fixture
def calls() -> Calls:
    """No call yet."""
    return Calls()


def test_a_call_that_succeeds_is_ok(calls: Calls) -> None:
    """The event has the time that the call took, and so has the call."""
    call = calls.run(None)
    assert calls.sink.all == [DependencyCalled("redis", "read", "ok", 2.0)]
    assert (call.outcome, call.seconds) == ("ok", 2.0)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (TimeoutError(), "late"),
        (ImsUnavailableError("down"), "broken"),
        (RuntimeError(), "broken"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
@pytest.mark.parametrize("only_failures", [False, True])
def test_a_call_that_fails_or_is_cancelled_has_a_label(
    calls: Calls,
    error: BaseException,
    outcome: str,
    only_failures: bool,
) -> None:
    """The exception is raised again; a cancellation counts as a failure only if all calls are reported."""
    with pytest.raises(type(error)) as raised:
        calls.run(error, only_failures=only_failures)
    assert raised.value is error
    expected = [] if only_failures and outcome == "cancelled" else [DependencyCalled("redis", "read", outcome, 2.0)]
    assert calls.sink.all == expected


def test_if_only_failures_are_reported_a_success_emits_nothing(calls: Calls) -> None:
    """A call that mostly waits for changes does not measure the speed of its dependency."""
    calls.run(None, only_failures=True)
    assert calls.sink.all == []
