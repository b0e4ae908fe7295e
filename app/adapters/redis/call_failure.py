"""What a failure of Redis is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Failure:
    """A kind of failure.

    Args:
        outcome: Its label in metrics.
        detail: One sentence for a person.
        unreachable: True if the next call will very likely fail in the same slow way.
        asked: False if Redis was not asked, so that nothing is known of it.

    """

    outcome: str
    detail: str
    unreachable: bool = False
    asked: bool = True


@dataclass(slots=True)
class Contact:
    """What is known of the connection to Redis.

    Args:
        tls: Whether it is encrypted.
        handshaken: Whether a TLS handshake ever succeeded.
        answered: Whether Redis answered anything, even an error, since the last TLS handshake.

    """

    tls: bool
    handshaken: bool = False
    answered: bool = False
