"""What can go wrong with Redis, each told apart in one constant sentence; a server's own words are never passed on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from redis import exceptions

FAILURES = (exceptions.RedisError, OSError, EOFError, TimeoutError)
"""Everything that redis-py or the network raises when a call fails."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A kind of failure.

    Args:
        outcome: Its label in metrics.
        detail: One sentence for a person.
        unreachable: True where the next call will very likely fail in the same slow way.

    """

    outcome: str
    detail: str
    unreachable: bool = False


SKIPPED = Failure("skipped", "Redis did not answer a moment ago; it is tried again shortly.")

_OTHER = Failure("error", "Redis answered with an error.")
_UNREACHABLE = Failure("unreachable", "Redis cannot be reached, or closed the connection.", unreachable=True)
_BY_TYPE: tuple[tuple[tuple[type[BaseException], ...], Failure], ...] = (
    (
        (
            exceptions.AuthenticationError,
            exceptions.AuthorizationError,
            exceptions.AuthenticationWrongNumberOfArgsError,
        ),
        Failure("unauthenticated", "Redis refuses the broker's user name or password, or its file cannot be read."),
    ),
    (
        (exceptions.NoPermissionError,),
        Failure("forbidden", "Redis' access list does not allow the broker a command or key that it needs."),
    ),
    ((exceptions.ReadOnlyError,), Failure("read_only", "This Redis is a read-only replica.")),
    ((exceptions.OutOfMemoryError,), Failure("out_of_memory", "Redis is out of memory and refuses writes.")),
    ((exceptions.BusyLoadingError,), Failure("loading", "Redis is still loading its data.")),
    # The built-in TimeoutError is an OSError, so it is asked for first.
    ((exceptions.TimeoutError, TimeoutError), Failure("timeout", "Redis did not answer in time.", unreachable=True)),
    ((exceptions.ConnectionError, OSError, EOFError), _UNREACHABLE),
)


def failure_of(error: BaseException) -> Failure:
    """What kind of failure `error`, one of `FAILURES`, is."""
    return next((failure for types, failure in _BY_TYPE if isinstance(error, types)), _OTHER)


class Breaker:
    """After a few failures in a row, spares callers the wait: one call in a while tries, the others fail at once.

    Args:
        clock: A monotonic clock, in seconds.
        threshold: Failures in a row that open it.
        pause: Seconds between two tries while it is open.

    """

    def __init__(self, clock: Callable[[], float], threshold: int = 3, pause: float = 1.0) -> None:
        self._clock = clock
        self._threshold = threshold
        self._pause = pause
        self._failures = 0
        self._next_try = 0.0

    @property
    def is_open(self) -> bool:
        """Whether callers are spared the wait."""
        return self._failures >= self._threshold

    def allows(self) -> bool:
        """Whether a call may be made now. While open, a yes is given to one caller per pause."""
        if self._failures < self._threshold:
            return True
        now = self._clock()
        if now < self._next_try:
            return False
        self._next_try = now + self._pause
        return True

    def succeeded(self) -> None:
        """Note that Redis answered, be it with an error."""
        self._failures = 0

    def failed(self) -> None:
        """Note that Redis did not answer."""
        self._failures += 1
        if self._failures == self._threshold:
            self._next_try = self._clock() + self._pause
