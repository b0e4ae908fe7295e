"""What is not told by events but asked for at each scrape, so that nothing is counted on a request's way."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from prometheus_client import Counter

from app.adapters.prometheus.metrics import Metrics

_TOKEN_STATES = ("fresh", "aging", "expired")


@dataclass(slots=True)
class Watched:
    """Who is asked at a scrape; the composition root puts those in place that there are.

    Args:
        tokens: Tokens in memory by state.
        unrefreshed: Tokens whose last refresh failed and whose end is near, by how near.
        flights: Tokens that are being waited for.
        requests_waiting: Requests that wait for them.
        redis_breaker_open: Whether Redis is spared calls, because it does not answer.
        vault_token_remaining: Seconds until the broker's token at Vault ends; NaN where it has none, or no end.
        audit_lines_lost: Audit lines lost since the start.
        log_lines_lost: Lines of the log lost since the start.
        spans_lost: Spans lost since the start.

    """

    tokens: Callable[[], Mapping[str, int]] = dict
    unrefreshed: Callable[[], Mapping[str, int]] = dict
    flights: Callable[[], int] = int
    requests_waiting: Callable[[], int] = int
    redis_breaker_open: Callable[[], bool] = bool
    vault_token_remaining: Callable[[], float] = lambda: math.nan
    audit_lines_lost: Callable[[], int] = int
    log_lines_lost: Callable[[], int] = int
    spans_lost: Callable[[], int] = int


class Gauges:
    """Carries what is watched into the metrics.

    Args:
        metrics: Where to.
        watched: Who is asked.

    """

    def __init__(self, metrics: Metrics, watched: Watched) -> None:
        self._metrics = metrics
        self._watched = watched
        self._audit_lines = _Follower(metrics.audit_lines_lost)
        self._log_lines = _Follower(metrics.log_lines_lost)
        self._spans = _Follower(metrics.spans_lost)

    def read(self) -> None:
        """Ask all of them. One who fails keeps its last value and is counted; it costs nobody the other metrics."""
        metrics, watched = self._metrics, self._watched
        for carry in (
            self._carry_tokens,
            self._carry_unrefreshed,
            lambda: metrics.flights.set(watched.flights()),
            lambda: metrics.requests_waiting.set(watched.requests_waiting()),
            lambda: metrics.redis_breaker_open.set(watched.redis_breaker_open()),
            lambda: metrics.vault_token_remaining.set(watched.vault_token_remaining()),
            lambda: self._audit_lines.follow(watched.audit_lines_lost()),
            lambda: self._log_lines.follow(watched.log_lines_lost()),
            lambda: self._spans.follow(watched.spans_lost()),
        ):
            try:
                carry()
            except Exception:  # noqa: BLE001  # a scrape that fails whole would blind the operator just then
                metrics.task_failures.labels("metrics").inc()

    def _carry_tokens(self) -> None:
        tokens = self._watched.tokens()
        for state in _TOKEN_STATES:
            self._metrics.tokens.labels(state).set(tokens.get(state, 0))

    def _carry_unrefreshed(self) -> None:
        for within, count in self._watched.unrefreshed().items():
            self._metrics.tokens_unrefreshed.labels(within).set(count)


class _Follower:
    """Lets a counter follow a number that somebody else counts; it stands still where that number seems to fall."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._seen = 0

    def follow(self, number: int) -> None:
        self._counter.inc(max(0, number - self._seen))
        self._seen = number
