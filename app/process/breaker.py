"""A circuit breaker: after failures in a row most calls fail at once, instead of waiting for a system that is down."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum


class State(Enum):
    """What happens to the next call."""

    CLOSED = "closed"
    """It is made."""

    OPEN = "open"
    """It fails at once, unless the pause is over."""

    HALF_OPEN = "half_open"
    """As `OPEN`; a trial call was admitted, and its result is not known yet."""


class CircuitBreaker:
    """Opens after failures in a row, then admits one trial call per pause, and closes at the first success.

    A trial call may never report its result, because it can be cancelled: after another pause the next one is admitted.

    Args:
        clock: A monotonic clock, in seconds.
        threshold: Failures in a row that open it.
        pause: Seconds between two trial calls while it is open.

    """

    def __init__(self, clock: Callable[[], float], threshold: int = 3, pause: float = 1.0) -> None:
        self._clock = clock
        self._threshold = threshold
        self._pause = pause
        self._state = State.CLOSED
        self._failures = 0
        self._next_trial = 0.0

    @property
    def state(self) -> State:
        """What happens to the next call."""
        return self._state

    @property
    def is_open(self) -> bool:
        """Whether most calls fail at once."""
        return self._state is not State.CLOSED

    def try_acquire(self) -> bool:
        """Whether a call may be made now. While the circuit is open, True makes the caller's call the trial call."""
        if self._state is State.CLOSED:
            return True
        now = self._clock()
        if now < self._next_trial:
            return False
        self._next_trial = now + self._pause
        self._state = State.HALF_OPEN
        return True

    def succeeded(self) -> None:
        """Note that the system answered, even with an error."""
        self._failures = 0
        self._state = State.CLOSED

    def failed(self) -> None:
        """Note that the system did not answer."""
        if self._state is State.CLOSED:
            self._failures += 1
            if self._failures < self._threshold:
                return
            self._next_trial = self._clock() + self._pause
        self._state = State.OPEN
