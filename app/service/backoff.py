"""When something that failed may be tried again: never once per request."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import LRUCache

from app.domain.dependency_errors import DependencyError, OverloadedError
from app.domain.errors import BrokerError
from app.domain.names import TokenKey

FIRST_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 300.0
LONGEST_REFUSAL_SECONDS = 5.0

MAX_FAILING_TOKENS = 10_000
"""Tokens whose failures are remembered at once; above that, the least recently used one is forgotten."""


@dataclass(slots=True)
class _Wait:
    until: float
    pause: float
    seconds: float
    failed_at: float


class RefreshBackoff:
    """Exponential from 1 s to 5 min with full jitter, per token; a longer ``Retry-After`` of IMS takes precedence.

    Args:
        draw: Uniform random float between two bounds.

    """

    def __init__(self, draw: Callable[[float, float], float] = random.uniform) -> None:
        self._draw = draw
        self._waits = LRUCache[TokenKey, _Wait](MAX_FAILING_TOKENS)

    def pause(self, key: TokenKey, now: float) -> float:
        """Seconds from `now` (Unix time) until a refresh of `key` may be tried; 0 if it may be tried at once."""
        wait = self._waits.get(key)
        # A clock that was set back must not prolong the wait.
        return 0.0 if wait is None or not now < wait.until <= now + wait.pause else wait.until - now

    def failed(self, key: TokenKey, error: Exception | None, now: float) -> None:
        """A refresh of `key` failed at `now`, or its token expires no later (`error` is None)."""
        before = self._waits.get(key)
        # If there was no turn in time, nothing was tried: then the wait does not grow.
        growth = 1 if isinstance(error, OverloadedError) else 2
        seconds = FIRST_SECONDS if before is None else min(LONGEST_PAUSE_SECONDS, before.seconds * growth)
        asked = error.retry_after if isinstance(error, DependencyError) else 0.0
        pause = max(asked, self._draw(0.0, seconds))
        self._waits[key] = _Wait(now + pause, pause, seconds, now if error is not None else -math.inf)

    def succeeded(self, key: TokenKey) -> None:
        """A refresh of `key` succeeded: nothing is remembered."""
        self._waits.pop(key, None)

    def failures(self) -> tuple[tuple[TokenKey, float], ...]:
        """Tokens whose last refresh failed, and when: Unix time in seconds. Does not count as asking for them."""
        return tuple((key, wait.failed_at) for key, wait in self._waits.items() if wait.failed_at > -math.inf)


@dataclass(slots=True)
class _Failure:
    error: BrokerError
    times: int
    until: float


class RecentFailures:
    """The error to answer at once if the last exchange for a token failed a moment ago.

    The first failure is retried at once. From the second in a row, the next attempt waits 1 s, doubling to 5 s; jitter
    shortens each wait by up to a half. So callers that hammer a failing tenant cost Vault and IMS one call per 2.5 to
    5 s, and a tenant that recovers is served within 5 s.

    Args:
        draw: Uniform random float between two bounds.
        limit: The number of failures that are remembered.

    """

    def __init__(self, draw: Callable[[float, float], float] = random.uniform, limit: int = MAX_FAILING_TOKENS) -> None:
        self._draw = draw
        self._failures = LRUCache[TokenKey, _Failure](limit)

    def recall(self, key: TokenKey, now: float) -> BrokerError | None:
        """The error to answer at `now` (Unix time in seconds) instead of trying; None if an attempt is due."""
        failure = self._failures.get(key)
        # A clock that was set back must not prolong the wait.
        if failure is None or not now < failure.until <= now + LONGEST_REFUSAL_SECONDS:
            return None
        return failure.error

    def failed(self, key: TokenKey, error: BrokerError, now: float) -> None:
        """An attempt for `key` failed at `now`."""
        before = self._failures.pop(key, None)
        times = 1 if before is None else before.times + 1
        wait = 0.0 if times == 1 else min(LONGEST_REFUSAL_SECONDS, FIRST_SECONDS * 2.0 ** min(times - 2, 8))
        self._failures[key] = _Failure(error, times, now + wait * self._draw(0.5, 1.0))

    def succeeded(self, key: TokenKey) -> None:
        """An attempt for `key` succeeded: nothing is remembered."""
        self._failures.pop(key, None)
