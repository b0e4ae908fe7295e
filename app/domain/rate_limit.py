"""A caller's own limit as a token bucket. Time is an argument."""

from __future__ import annotations

from app.domain.identity import RateLimit

_ROUNDING = 1e-6
"""Who waits exactly as long as it was told must not be refused for a rounding error."""


class TokenBucket:
    """Holds the requests of one period, and fills up evenly over it.

    So the burst is the number in the limit: ``200/s`` lets 200 through at once, ``600/m`` lets 600 through at
    once and then 10 per second. Over any span the bucket lets through at most burst + span x rate.

    Args:
        limit: The limit; per replica.

    """

    __slots__ = ("_burst", "_last", "_rate", "_tokens")

    def __init__(self, limit: RateLimit) -> None:
        self._burst = float(limit.requests)
        self._rate = limit.requests / limit.seconds
        self._tokens = self._burst
        self._last = 0.0

    def take(self, now: float) -> float:
        """Let one request through, or say how long to wait.

        Args:
            now: Seconds of any clock. Should it run backwards, nothing is gained and nothing is locked.

        Returns:
            0.0 where the request may pass; else the seconds until one may.

        """
        elapsed = now - self._last
        self._last = now
        tokens = self._tokens
        if elapsed > 0.0:
            tokens += elapsed * self._rate
            if tokens > self._burst:  # On the hot path, where min() would cost a call.
                tokens = self._burst
        if tokens >= 1.0 - _ROUNDING:
            self._tokens = tokens - 1.0
            return 0.0
        self._tokens = tokens
        return (1.0 - tokens) / self._rate
