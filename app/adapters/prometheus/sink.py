"""Events as Prometheus metrics. Labels are names of the policy and constants of the code, never raw input."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import cache

from prometheus_client import CollectorRegistry, Metric, ProcessCollector, generate_latest
from prometheus_client.registry import Collector
from typing_extensions import override

from app.adapters.prometheus.declared import Declarations, Declared
from app.adapters.prometheus.gauges import Ask, Gauges
from app.adapters.prometheus.metrics import Metrics
from app.adapters.prometheus.own_certificate import OwnCertificate
from app.adapters.prometheus.summed import WorkerMetrics
from app.domain import events
from app.domain.credential import CredentialKind
from app.domain.decision import DONE, VENDED, Decision
from app.domain.names import CredentialRef
from app.domain.refusal_reason import RefusalReason
from app.domain.tenant_errors import CredentialRejectedError
from app.ports import Clock, RequestSink

SHARE_SECONDS = 1.0
"""The shortest interval at which a worker shares its metrics with the others."""

_REST = 50
"""The pause is at least this many times as long as the sharing took."""

_DAY = 86400.0
_RECORDS_REFUSED_FOR = ("integrity", "unknown_key", "version", "contradiction")
_WITHIN = {"3d": 3 * _DAY, "30d": 30 * _DAY}
_MAX_DECISIONS = 10_000
_MAX_TALLIES = 10_000
_MAX_CERTIFICATES = 20_000


class _Tally:
    """Requests with the same labels, counted without a lock; only the thread of the event loop counts."""

    __slots__ = ("count", "decision")

    def __init__(self, decision: Decision) -> None:
        self.count = 0
        self.decision = decision


class PrometheusSink(RequestSink):
    """Counts events, and renders the counts on request.

    Args:
        registry: Where the metrics are, those of the process among them; one per application, never the global one.
        clock: Unix time in seconds.
        version: The program's version.
        worker: The metrics of the replica, if this is one of its workers.

    """

    def __init__(
        self, registry: CollectorRegistry, clock: Clock, version: str, worker: WorkerMetrics | None = None
    ) -> None:
        self._worker = worker
        ProcessCollector(registry=registry)
        self._rendered = _WithoutCreationTimes(registry)
        self._clock = clock
        self._declare = Declarations(registry)
        self._metrics = Metrics(self._declare)
        self._metrics.build_info.labels(version).set(1)
        self._own_certificate = OwnCertificate(self._declare)
        registry.register(self._own_certificate)
        self._metrics.clock_skew.set(math.nan)
        self._begin_at_zero()
        self._gauges = Gauges(self._declare, lambda: self._metrics.task_failures.labels("metrics").inc())
        self._tallies: dict[Decision, _Tally] = {}
        self._by_labels: dict[tuple[object, ...], _Tally] = {}
        self._certificates: OrderedDict[CredentialRef, float] = OrderedDict()
        # Found in a dictionary, because `labels` takes longer than counting. The labels are constants of the code.
        self._lookups = cache(self._metrics.cache_lookups.labels)
        self._calls = cache(self._metrics.dependency_calls.labels)
        self._durations = cache(self._metrics.dependency_call_duration.labels)
        self._up = cache(self._metrics.dependency_up.labels)
        self._takers: dict[type[events.Event], Callable[..., None]] = {
            events.ExchangeFinished: self._exchange,
            events.CacheLookedUp: lambda e: self._lookups(e.tier, e.outcome).inc(),
            events.CacheRecordRefused: lambda e: self._metrics.cache_records_refused.labels(e.reason).inc(),
            events.DependencyCalled: self._call,
            events.PolicyLoaded: self._policy_loaded,
            events.PolicyRefused: self._policy_refused,
            events.KeyRingLoaded: lambda e: self._metrics.key_ring_loaded.set(e.at),
            events.KeyRingRefused: lambda _: self._metrics.key_ring_refusals.inc(),
            events.ServerCertificateLoaded: lambda e: self._own_certificate.set(e.not_after),
            events.ServerCertificateRefused: lambda _: self._metrics.tls_refusals.inc(),
            events.ClockCompared: lambda e: self._metrics.clock_skew.set(e.ahead),
            events.CredentialPurged: lambda e: self._metrics.purges.labels(e.origin).inc(),
            events.CertificateSeen: self._certificate,
            events.RefreshFailed: lambda e: self._metrics.refresh_failures.labels(e.code).inc(),
            events.TaskFailed: lambda e: self._metrics.task_failures.labels(e.task).inc(),
        }

    @property
    def declared(self) -> tuple[Declared, ...]:
        """All metrics of the broker, in the order of the README's table."""
        return tuple(self._declare.all)

    def gauge(self, name: str, ask: Ask) -> None:
        """Call `ask` at each scrape for the metric `name` of `app.adapters.prometheus.gauges.ASKED`.

        Raises:
            KeyError: There is no such metric.

        """
        self._gauges.register(name, ask)

    @override
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

    @override
    def emit_granted(self, events: Sequence[events.RequestDecided]) -> None:
        tallies = self._tallies
        for event in events:
            tally = tallies.get(event.decision) or self._new_tally(event.decision)
            tally.count += 1

    def render(self) -> bytes:
        """The metrics of the replica in Prometheus' text format, version 0.0.4."""
        if self._worker is not None:
            self.share()
            return generate_latest(self._worker)
        self._read()
        return generate_latest(self._rendered)

    def share(self) -> None:
        """Share these metrics with the other workers of the replica, if there are any."""
        if self._worker is not None:
            self._read()
            self._worker.write(self._rendered.collect())

    async def share_on(self) -> None:
        """Share until cancelled, so that a scrape that another worker answers lags only a little."""
        while True:
            began = time.monotonic()
            self.share()
            # Many callers mean many series: sharing them must not use much CPU time.
            await asyncio.sleep(max(SHARE_SECONDS, _REST * (time.monotonic() - began)))

    def _read(self) -> None:
        self._apply_counts()
        self._count_certificates()
        self._gauges.read()

    def _begin_at_zero(self) -> None:
        """Series that must exist at 0, so that alerts see their first increment."""
        for kind in CredentialKind:
            self._metrics.exchanges.labels(kind.value, CredentialRejectedError.code)
        for reason in _RECORDS_REFUSED_FOR:
            self._metrics.cache_records_refused.labels(reason)
        for refusal in RefusalReason:
            self._metrics.authentication_failures.labels(refusal.value)

    def _new_tally(self, decision: Decision) -> _Tally:
        """The tally of `decision`, to be found by the object itself next time: that is quicker than by the labels."""
        labels = (
            decision.endpoint,
            decision.outcome,
            decision.caller,
            decision.tier,
            decision.reason,
            decision.audit_rule is not None,
        )
        tally = self._by_labels.get(labels)
        if tally is None:
            if len(self._by_labels) >= _MAX_TALLIES:
                self._apply_counts()
                self._by_labels.clear()
                self._tallies.clear()
            tally = self._by_labels[labels] = _Tally(decision)
        if decision.is_shared:
            if len(self._tallies) >= _MAX_DECISIONS:
                self._tallies.clear()
            self._tallies[decision] = tally
        return tally

    def _apply_counts(self) -> None:
        """Move the tallies into the metrics."""
        for tally in self._by_labels.values():
            if tally.count:
                self._count(tally.decision, tally.count)
                tally.count = 0

    def _count(self, decision: Decision, times: int) -> None:
        metrics, outcome, caller = self._metrics, decision.outcome, decision.caller or ""
        metrics.requests.labels(decision.endpoint, outcome).inc(times)
        if decision.reason is not None:
            metrics.authentication_failures.labels(decision.reason.value).inc(times)
        if decision.audit_rule is not None:
            metrics.audit_rule_matches.labels(caller).inc(times)
        if outcome == VENDED:
            metrics.tokens_vended.labels(caller, decision.tier or "").inc(times)
        elif outcome != DONE:
            metrics.requests_refused.labels(decision.endpoint, outcome, caller).inc(times)

    def _exchange(self, event: events.ExchangeFinished) -> None:
        self._metrics.exchanges.labels(event.kind, event.outcome).inc()
        self._metrics.exchange_duration.labels(event.kind, event.outcome).observe(event.seconds)

    def _call(self, event: events.DependencyCalled) -> None:
        self._calls(event.dependency, event.operation, event.outcome).inc()
        self._durations(event.dependency, event.operation).observe(event.seconds)
        if event.works is not None:
            self._up(event.dependency).set(event.works)

    def _policy_loaded(self, event: events.PolicyLoaded) -> None:
        self._metrics.policy_loaded.set(event.at)
        self._metrics.policy_info.clear()  # One series: that of the policy in force.
        self._metrics.policy_info.labels(event.version).set(1)
        self._metrics.policy_stale.set(0)

    def _policy_refused(self, _: events.PolicyRefused) -> None:
        self._metrics.policy_refusals.inc()
        self._metrics.policy_stale.set(1)

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


class _WithoutCreationTimes(Collector):
    """All metrics except the ``_created`` series, which would double a scrape and which nothing here needs."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    @override
    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family
