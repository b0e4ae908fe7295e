"""What a failure of Redis is."""

from __future__ import annotations

from dataclasses import dataclass

from redis.exceptions import ConnectionError as NoConnectionError

from app.domain.dependency_errors import CacheUnavailableError


class ForeignValueError(CacheUnavailableError):
    """A key has a value that the broker did not write and cannot read."""


class UnansweredError(NoConnectionError):
    """A new connection ended after its TLS handshake, before Redis had answered anything on it.

    Its cause is what the network raised, if anything.
    """


@dataclass(frozen=True, slots=True)
class Failure:
    """A kind of failure.

    Args:
        outcome: Its label in metrics.
        detail: One sentence for a person.
        unreachable: True if the next call will very likely fail in the same slow way.
        asked: False if Redis was not asked, so that nothing is known of it.
        foreign: True if there is a value that the broker did not write.

    """

    outcome: str
    detail: str
    unreachable: bool = False
    asked: bool = True
    foreign: bool = False


@dataclass(slots=True)
class Contact:
    """What is known of the connection to Redis.

    Args:
        tls: Whether it is encrypted.
        cluster: Whether Redis is expected to be a cluster.
        handshaken: Whether a TLS handshake ever succeeded.
        answered: Whether Redis answered anything, even an error, since the last TLS handshake.

    """

    tls: bool
    cluster: bool = False
    handshaken: bool = False
    answered: bool = False


def unavailable(failure: Failure) -> CacheUnavailableError:
    """The error of a call that failed so."""
    return (ForeignValueError if failure.foreign else CacheUnavailableError)(failure.detail)
