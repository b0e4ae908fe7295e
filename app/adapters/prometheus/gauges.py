"""Values that no event reports: they are computed at each scrape, so that no request has to count them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from prometheus_client import Counter, Gauge

from app.adapters.prometheus.declared import Declarations

Ask = Callable[[], float | Mapping[str, float]]
"""The present value of a metric; for a metric with a label, the value per label."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A metric that is asked for.

    Args:
        name: Without prefix and suffix.
        text: Its help text.
        label: Its label, if it has one.
        values: Values of the label that are 0 from the start.
        initial: Its value until it is asked for the first time.
        counts: True for a counter, whose value never falls.

    """

    name: str
    text: str
    label: str | None = None
    values: tuple[str, ...] = ()
    initial: float = 0.0
    counts: bool = False


ASKED = (
    Asked("tokens", "Tokens in this replica's memory.", "state", ("fresh", "aging", "critical", "expired")),
    Asked(
        "tokens_unrefreshed",
        "Tokens whose last refresh failed and that expire in 1 h or 6 h (at most a tenth or a quarter of their life).",
        "within",
    ),
    Asked("flights", "Tokens being looked up or minted now."),
    Asked("requests_waiting", "Requests that wait for a token that is being looked up or minted."),
    Asked(
        "exchanges_in_flight",
        "Exchanges with IMS that run: `prompt`, or `slow` after 2 s, when they no longer count for the limit.",
        "pace",
        ("prompt", "slow"),
    ),
    Asked(
        "exchanges_waiting",
        "Exchanges with IMS that wait for their turn; `suspect`: of credentials whose last exchange failed.",
        "purpose",
        ("refresh", "cold", "report", "suspect"),
    ),
    Asked("exchanges_deferred", "Exchanges put off because IMS throttles their client.", counts=True),
    Asked("fleet_replicas", "Replicas that share the callers' fleet-wide rate limits, as last seen; 0 if none."),
    Asked(
        "fleet_limits_alone",
        "1 while this replica cannot share fleet-wide rate limits, and enforces its part of each one.",
    ),
    Asked(
        "breaker_open",
        "1 while the circuit breaker of a dependency is open; for IMS, that of any of its hosts.",
        "dependency",
        ("redis", "vault", "ims"),
    ),
    Asked(
        "vault_token_remaining_seconds",
        "Seconds until the broker's own Vault token expires; NaN without a token, or if it does not expire.",
        initial=math.nan,
    ),
    Asked("event_loop_lag_seconds", "The longest delay of the event loop in the last 30 to 60 s."),
    Asked("event_loop_tasks", "Tasks of the event loop that are not done."),
    Asked("audit_lines_lost", "Audit lines that could not be written.", counts=True),
    Asked("log_lines_lost", "Application log lines that could not be written.", counts=True),
    Asked("worker_restarts", "Worker processes that exited unexpectedly and were replaced.", counts=True),
    Asked("spans_lost", "Spans that the collector did not accept.", counts=True),
)


class Gauges:
    """Carries what is asked for into the metrics.

    Args:
        declare: Where the metrics are made.
        failed: Called for each question that fails.

    """

    def __init__(self, declare: Declarations, failed: Callable[[], None]) -> None:
        self._metrics = {asked.name: _metric(asked, declare) for asked in ASKED}
        self._failed = failed
        self._asks: dict[str, Ask] = {}

    def register(self, name: str, ask: Ask) -> None:
        """Call `ask` at each scrape for the metric `name` of `ASKED`, instead of what was registered before.

        Raises:
            KeyError: There is no such metric.

        """
        if name not in self._metrics:
            raise KeyError(name)
        self._asks[name] = ask

    def read(self) -> None:
        """Ask for all values. A question that fails is counted, and leaves the last value and all other metrics."""
        for name, ask in self._asks.items():
            try:
                self._metrics[name].take(ask())
            except Exception:  # noqa: BLE001  # a scrape that fails as a whole would blind the operator
                self._failed()


def _metric(asked: Asked, declare: Declarations) -> _Value | _Labelled | _Count:
    if asked.counts:
        return _Count(declare.counter(asked.name, asked.text))
    if asked.label is not None:
        return _Labelled(declare.gauge(asked.name, asked.text, asked.label), asked.values)
    return _Value(declare.gauge(asked.name, asked.text), asked.initial)


class _Value:
    """A gauge."""

    def __init__(self, gauge: Gauge, initial: float) -> None:
        self._gauge = gauge
        gauge.set(initial)

    def take(self, value: float | Mapping[str, float]) -> None:
        assert not isinstance(value, Mapping)  # noqa: S101  # it has no label
        self._gauge.set(value)


class _Labelled:
    """A gauge per label; a label that is no longer named is 0."""

    def __init__(self, gauge: Gauge, values: tuple[str, ...]) -> None:
        self._gauge = gauge
        self._known = set(values)
        self.take({})

    def take(self, value: float | Mapping[str, float]) -> None:
        assert isinstance(value, Mapping)  # noqa: S101  # it has a label
        self._known.update(value)
        for label in self._known:
            self._gauge.labels(label).set(value.get(label, 0.0))


class _Count:
    """A counter that follows a number that is counted elsewhere; it stays as it is if that number falls."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._seen = 0.0

    def take(self, value: float | Mapping[str, float]) -> None:
        assert not isinstance(value, Mapping)  # noqa: S101  # it has no label
        self._counter.inc(max(0.0, value - self._seen))
        self._seen = value
