"""Events as Prometheus metrics. Labels are names of the policy and constants of the code, never raw input."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily

from app.domain import events
from app.domain.names import CredentialRef
from app.ports import Clock

_PREFIX = "ims_token_broker"
_DAY = 86400.0
_WITHIN = {"3d": 3 * _DAY, "30d": 30 * _DAY}
_MAX_DECISIONS = 20_000
_MAX_CERTIFICATES = 20_000
_EXCHANGE_BUCKETS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 15)
_CALL_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


@dataclass(frozen=True, slots=True)
class _Metrics:
    """All metrics, by field name; the exported names carry the prefix."""

    tokens_vended: Counter
    requests_refused: Counter
    requests: Counter
    exchanges: Counter
    exchange_duration: Histogram
    cache_lookups: Counter
    cache_records_refused: Counter
    dependency_calls: Counter
    dependency_call_duration: Histogram
    policy_loaded: Gauge
    policy_refusals: Counter
    tls_refusals: Counter
    purges: Counter
    certificates_expiring: Gauge
    refresh_failures: Counter
    task_failures: Counter
    tokens: Gauge
    audit_lines_lost: Counter
    build_info: Gauge


class _Tally:
    """Requests decided alike, counted without a lock; only the event loop's thread counts."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class _OwnCertificate:
    """The end of the broker's own certificate; without one no sample, for 0 would look like one that has ended."""

    def __init__(self) -> None:
        self._not_after: float | None = None

    def set(self, not_after: float) -> None:
        """Note the end, in Unix time."""
        self._not_after = not_after

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The metric, for the registry."""
        told = "When the certificate of the broker's own HTTPS ends."
        yield GaugeMetricFamily(f"{_PREFIX}_tls_not_after_timestamp_seconds", told, value=self._not_after)


class PrometheusSink:
    """Counts events, and renders the counts on request.

    Args:
        registry: Where the metrics are; one per application, never the global one.
        clock: Unix time in seconds.
        version: The program's version.

    """

    def __init__(self, registry: CollectorRegistry, clock: Clock, version: str) -> None:
        self._registry = registry
        self._clock = clock
        self._metrics = _metrics(registry)
        self._own_certificate = _OwnCertificate()
        registry.register(self._own_certificate)
        self._metrics.build_info.labels(version).set(1)
        self._tallies: dict[events.Decision, _Tally] = {}
        self._certificates: OrderedDict[CredentialRef, float] = OrderedDict()
        self._tokens: Callable[[], Mapping[str, int]] = dict
        self._audit_lost: Callable[[], int] = int
        self._audit_lost_seen = 0
        self._takers: dict[type[events.Event], Callable[..., None]] = {
            events.ExchangeFinished: self._exchange,
            events.CacheLookedUp: lambda e: self._metrics.cache_lookups.labels(e.tier, e.outcome).inc(),
            events.CacheRecordRefused: lambda e: self._metrics.cache_records_refused.labels(e.reason).inc(),
            events.DependencyCalled: self._call,
            events.PolicyLoaded: lambda e: self._metrics.policy_loaded.set(e.at),
            events.PolicyRefused: lambda _: self._metrics.policy_refusals.inc(),
            events.ServerCertificateLoaded: lambda e: self._own_certificate.set(e.not_after),
            events.ServerCertificateRefused: lambda _: self._metrics.tls_refusals.inc(),
            events.CredentialPurged: lambda e: self._metrics.purges.labels(e.origin).inc(),
            events.CertificateSeen: self._certificate,
            events.RefreshFailed: lambda e: self._metrics.refresh_failures.labels(e.code).inc(),
            events.TaskFailed: lambda e: self._metrics.task_failures.labels(e.task).inc(),
        }

    def watch_tokens(self, count: Callable[[], Mapping[str, int]]) -> None:
        """Ask `count` for the number of tokens in memory by state, at each scrape."""
        self._tokens = count

    def watch_audit(self, lost: Callable[[], int]) -> None:
        """Ask `lost` for the number of audit lines lost since the start, at each scrape."""
        self._audit_lost = lost

    def emit(self, event: events.Event) -> None:
        """See `app.ports.EventSink.emit`."""
        if type(event) is events.RequestDecided:
            # The hot path: an object per kind of decision, so that counting needs no labels and no lock.
            tally = self._tallies.get(event.decision)
            if tally is None:
                tally = self._new_tally(event.decision)
            tally.count += 1
            return
        taker = self._takers.get(type(event))
        if taker is not None:
            taker(event)

    def render(self) -> bytes:
        """The metrics in Prometheus' text format, version 0.0.4."""
        self._settle()
        self._count_certificates()
        counts = self._tokens()
        for state in ("fresh", "aging", "expired"):
            self._metrics.tokens.labels(state).set(counts.get(state, 0))
        lost = self._audit_lost()
        self._metrics.audit_lines_lost.inc(max(0, lost - self._audit_lost_seen))
        self._audit_lost_seen = lost
        return generate_latest(self._registry)

    def _new_tally(self, decision: events.Decision) -> _Tally:
        if len(self._tallies) >= _MAX_DECISIONS:
            self._settle()
            self._tallies.clear()
        tally = self._tallies[decision] = _Tally()
        return tally

    def _settle(self) -> None:
        """Move the tallies into the metrics."""
        for decision, tally in self._tallies.items():
            if tally.count:
                self._count(decision, tally.count)
                tally.count = 0

    def _count(self, decision: events.Decision, times: int) -> None:
        metrics, outcome, caller = self._metrics, decision.outcome, decision.caller or ""
        metrics.requests.labels(decision.endpoint, outcome).inc(times)
        if outcome == events.VENDED:
            metrics.tokens_vended.labels(caller, decision.tier or "").inc(times)
        elif outcome != events.DONE:
            metrics.requests_refused.labels(decision.endpoint, outcome, caller).inc(times)

    def _exchange(self, event: events.ExchangeFinished) -> None:
        self._metrics.exchanges.labels(event.kind, event.outcome).inc()
        self._metrics.exchange_duration.labels(event.kind, event.outcome).observe(event.seconds)

    def _call(self, event: events.DependencyCalled) -> None:
        self._metrics.dependency_calls.labels(event.dependency, event.operation, event.outcome).inc()
        self._metrics.dependency_call_duration.labels(event.dependency, event.operation).observe(event.seconds)

    def _certificate(self, event: events.CertificateSeen) -> None:
        self._certificates[event.ref] = event.not_after
        self._certificates.move_to_end(event.ref)
        if len(self._certificates) > _MAX_CERTIFICATES:
            self._certificates.popitem(last=False)

    def _count_certificates(self) -> None:
        now = self._clock()
        for within, seconds in _WITHIN.items():
            expiring = sum(1 for not_after in self._certificates.values() if not_after - now <= seconds)
            self._metrics.certificates_expiring.labels(within).set(expiring)


def _metrics(registry: CollectorRegistry) -> _Metrics:
    def counter(name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{_PREFIX}_{name}", text, labels, registry=registry)

    def gauge(name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"{_PREFIX}_{name}", text, labels, registry=registry)

    def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"{_PREFIX}_{name}", text, labels, buckets=buckets, registry=registry)

    return _Metrics(
        tokens_vended=counter("tokens_vended", "Tokens answered, by where they came from.", "caller", "tier"),
        requests_refused=counter("requests_refused", "Requests answered with an error.", "endpoint", "code", "caller"),
        requests=counter("requests", "Requests decided.", "endpoint", "outcome"),
        exchanges=counter("exchanges", "Exchanges with IMS.", "kind", "outcome"),
        exchange_duration=histogram(
            "exchange_duration_seconds", "Duration of exchanges with IMS.", _EXCHANGE_BUCKETS, "kind", "outcome"
        ),
        cache_lookups=counter("cache_lookups", "Lookups of the long way, by tier.", "tier", "outcome"),
        cache_records_refused=counter("cache_records_refused", "Shared records that were not trusted.", "reason"),
        dependency_calls=counter("dependency_calls", "Calls of outside systems.", "dependency", "operation", "outcome"),
        dependency_call_duration=histogram(
            "dependency_call_duration_seconds",
            "Duration of calls of outside systems.",
            _CALL_BUCKETS,
            "dependency",
            "operation",
        ),
        policy_loaded=gauge("policy_loaded_timestamp_seconds", "When the policy in force was loaded."),
        policy_refusals=counter("policy_refusals", "Policy files refused; the last good one stayed in force."),
        tls_refusals=counter("tls_refusals", "Renewals of the own certificate refused; the last good one stayed."),
        purges=counter("purges", "Purges, by whether this replica was asked or another.", "origin"),
        certificates_expiring=gauge("certificates_expiring", "Certificates that expire soon, or have.", "within"),
        refresh_failures=counter("refresh_failures", "Refreshes that failed behind a token still good.", "code"),
        task_failures=counter("task_failures", "Background tasks that were restarted after an error.", "task"),
        tokens=gauge("tokens", "Tokens in this replica's memory.", "state"),
        audit_lines_lost=counter("audit_lines_lost", "Audit lines that could not be written."),
        build_info=gauge("build_info", "Always 1; the label tells the version.", "version"),
    )
