"""What can go wrong with Redis, each with one constant sentence; the server's own words are never passed on."""

from __future__ import annotations

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
        unreachable: True if the next call will very likely fail in the same slow way.

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
