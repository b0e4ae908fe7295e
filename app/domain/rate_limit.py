"""A caller's own limit as a token bucket. Time is an argument."""

from __future__ import annotations

from dataclasses import dataclass

_ROUNDING = 1e-6
"""A part of a request. A caller that waits exactly for the time in Retry-After is not refused for a rounding error."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `requests` in `seconds`, per replica."""

    requests: int
    seconds: float


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
        self._rate = limit.requests / limit.seconds
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
        if tokens >= 1.0 - _ROUNDING:
            self._tokens = tokens - 1.0
            return 0.0
        self._tokens = tokens
        return (1.0 - tokens) / self._rate
