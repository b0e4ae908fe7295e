"""The metrics of several workers, added up."""

from __future__ import annotations

import math

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from app.adapters.prometheus import PrometheusSink, SharedMetrics, WorkerMetrics
from app.adapters.prometheus.summed import GAUGE_RULES
from app.domain.decision import VENDED, Decision
from app.domain.events import ClockCompared, DependencyCalled, RequestDecided
from tests.fakes import ManualClock

CLOCK = ManualClock()


class Replica:
    """Two workers."""

    def __init__(self) -> None:
        self.shared = SharedMetrics(2)
        self.workers = [self.worker(index, 0) for index in (0, 1)]

    def worker(self, index: int, incarnation: int) -> PrometheusSink:
        """A worker that begins with nothing counted."""
        return PrometheusSink(CollectorRegistry(), CLOCK, "1", WorkerMetrics(self.shared, index, incarnation))

    def value(self, name: str, asked: int = 0, **labels: str) -> float | None:
        """A sample of the answer of one worker to a scrape."""
        shown = self.workers[asked].render().decode()
        samples = (sample for family in text_string_to_metric_families(shown) for sample in family.samples)
        found = [
            s.value for s in samples if s.name == f"ims_token_broker_{name}" and s.labels.items() >= labels.items()
        ]
        assert len(found) <= 1
        return found[0] if found else None


def vend(worker: PrometheusSink, times: int) -> None:
    """Count requests."""
    decision = Decision("/token", "vend", VENDED, caller="c", tier="memory")
    for _ in range(times):
        worker.emit(RequestDecided(0.0, "id", decision))
    worker.share()


def call(worker: PrometheusSink, seconds: float, *, works: bool) -> None:
    """Count a call to Redis."""
    worker.emit(DependencyCalled("redis", "read", "ok" if works else "timeout", seconds))
    worker.share()


def test_counters_and_histograms_are_sums() -> None:
    """Whichever worker is asked, and also for labels that only one of them has."""
    replica = Replica()
    for worker, times in zip(replica.workers, (3, 4), strict=True):
        vend(worker, times)
    call(replica.workers[1], 0.3, works=True)
    call(replica.workers[0], 0.003, works=True)
    for asked in (0, 1):
        assert replica.value("requests_total", asked, endpoint="/token") == 7
        assert replica.value("dependency_call_duration_seconds_count", asked) == 2
        assert replica.value("dependency_call_duration_seconds_bucket", asked, le="0.005") == 1


def test_what_an_ended_worker_counted_stays() -> None:
    """Through two restarts in one place; a worker that ended before it wrote anything adds nothing."""
    replica = Replica()
    for worker, times in zip(replica.workers, (3, 4), strict=True):
        vend(worker, times)
    replica.shared.end(0, 0)
    assert replica.value("requests_total", 1) == 7
    replica.shared.end(0, 1)
    assert replica.value("requests_total", 1) == 7
    replica.workers[0] = replica.worker(0, 2)
    vend(replica.workers[0], 10)
    assert replica.value("requests_total", 1) == 17
    replica.shared.end(0, 2)
    assert replica.value("requests_total", 1) == 17


def test_counts_that_do_not_fit_are_dropped() -> None:
    """Those of the worker that ended last; the parent goes on, and earlier counts stay."""
    shared = SharedMetrics(2, 500)

    def count(index: int, label: str) -> None:
        family = CounterMetricFamily("requests", "Requests.", labels=["label"])
        family.add_metric([label], 3)
        WorkerMetrics(shared, index, 0).write([family])

    def labels() -> list[str]:
        return [sample.labels["label"][0] for family in shared.families() for sample in family.samples]

    count(0, "a" * 250)
    count(1, "b" * 250)
    assert shared.end(0, 0) == 0
    assert labels() == ["a", "b"]
    assert shared.end(1, 0) == 1
    assert labels() == ["a"]


def test_a_gauge_of_an_ended_worker_is_gone() -> None:
    """Only what is counted stays."""
    replica = Replica()
    for worker in replica.workers:
        call(worker, 0.1, works=True)
    call(replica.workers[0], 0.1, works=False)
    assert replica.value("dependency_up", 1, dependency="redis") == 0
    replica.shared.end(0, 0)
    assert replica.value("dependency_up", 1, dependency="redis") == 1


def test_an_unknown_value_does_not_hide_a_known_one() -> None:
    """NaN of a worker that knows nothing yet gives way; it stays if no worker knows."""
    replica = Replica()
    assert math.isnan(replica.value("clock_skew_seconds") or 0.0)
    replica.workers[1].emit(ClockCompared(2.0))
    replica.workers[1].share()
    assert replica.value("clock_skew_seconds") == 2.0


def test_each_gauge_has_a_rule() -> None:
    """Also those of the process; and no rule is for a gauge that does not exist."""
    registry = CollectorRegistry()
    PrometheusSink(registry, CLOCK, "1")
    assert {family.name for family in registry.collect() if family.type == "gauge"} == set(GAUGE_RULES)
