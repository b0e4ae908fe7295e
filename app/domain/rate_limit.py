"""A caller's own limit, and the token bucket of one replica. Time is an argument."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

ROUNDING = 1e-6
"""A part of a request. A caller that waits exactly for the time in Retry-After is not refused for a rounding error."""


class LimitScope(StrEnum):
    """Whose requests a limit counts."""

    REPLICA = "replica"
    FLEET = "fleet"


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `requests` in `seconds`: for each replica, or for all together."""

    requests: int
    seconds: float
    scope: LimitScope = LimitScope.REPLICA

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds

    def part(self, workers: int) -> RateLimit:
        """One worker's part: all workers of a replica together allow no more than this limit.

        Exception: with more workers than `requests`, each allows one request at once. The rate is still kept.
        """
        if workers == 1:
            return self
        requests = max(1, self.requests // workers)
        return RateLimit(requests, self.seconds * workers * requests / self.requests)


class Bucket(Protocol):
    """What counts the requests of one caller on this replica."""

    def take(self, now: float) -> float:
        """Allow one request (0.0), or return the seconds until one is allowed. `now` is seconds of any clock."""
        ...


class TokenBucket:
    """Holds the requests of one period, and refills evenly over that period.

    The burst is the number in the limit: ``200/s`` allows 200 requests at once, ``600/m`` allows 600 at once and
    then 10 per second. In any period the bucket allows at most burst + period x rate requests.

    Args:
        limit: The limit, per replica.

    """

    __slots__ = ("_burst", "_last", "_rate", "_tokens")

    def __init__(self, limit: RateLimit) -> None:
        self._burst = float(limit.requests)
        self._rate = limit.rate
        self._tokens = self._burst
        self._last = 0.0

    def take(self, now: float) -> float:
        """Allow one request, or return how long to wait.

        Args:
            now: Seconds of any clock. If it runs backwards, no request is gained, and the bucket does not lock up.

        Returns:
            0.0 if the request is allowed; otherwise the seconds until one is.

        """
        elapsed = now - self._last
        self._last = now
        tokens = self._tokens
        if elapsed > 0.0:
            tokens += elapsed * self._rate
            if tokens > self._burst:  # Not min(), because a call is expensive on the hot path.
                tokens = self._burst
        if tokens >= 1.0 - ROUNDING:
            self._tokens = tokens - 1.0
            return 0.0
        self._tokens = tokens
        return (1.0 - tokens) / self._rate

    def wait(self, now: float) -> float:
        """How long until a request would be allowed, in seconds; 0.0 if one would be now. It takes nothing."""
        tokens = min(self._burst, self._tokens + max(0.0, now - self._last) * self._rate)
        return 0.0 if tokens >= 1.0 - ROUNDING else (1.0 - tokens) / self._rate
