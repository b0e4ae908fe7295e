"""The metrics of several worker processes, combined as those of one replica.

Each worker writes its metrics to shared memory. The worker that answers a scrape adds them up. The counts of workers
that have exited stay in the sum, because Prometheus takes a counter that decreases for a restart.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, cast

from prometheus_client import Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from app.process.shared_slot import SharedSlot

MAX_SHARED_BYTES = 32 * 1024 * 1024
"""The most bytes of a worker's metrics: enough for more than 100,000 series."""

Rule = Literal["sum", "max", "min"]

GAUGE_RULES: Mapping[str, Rule] = {
    # Workers hold the same tokens.
    "ims_token_broker_tokens": "max",
    "ims_token_broker_tokens_unrefreshed": "max",
    "ims_token_broker_flights": "sum",
    "ims_token_broker_requests_waiting": "sum",
    "ims_token_broker_exchanges_in_flight": "sum",
    "ims_token_broker_exchanges_waiting": "sum",
    # For fleet-wide limits each worker counts as a replica.
    "ims_token_broker_fleet_replicas": "max",
    "ims_token_broker_fleet_limits_alone": "max",
    "ims_token_broker_breaker_open": "max",
    "ims_token_broker_event_loop_lag_seconds": "max",
    "ims_token_broker_event_loop_tasks": "sum",
    "ims_token_broker_vault_token_remaining_seconds": "min",
    "ims_token_broker_dependency_up": "min",
    "ims_token_broker_policy_loaded_timestamp_seconds": "min",
    "ims_token_broker_policy_info": "max",
    "ims_token_broker_policy_stale": "max",
    "ims_token_broker_key_ring_loaded_timestamp_seconds": "min",
    "ims_token_broker_tls_not_after_timestamp_seconds": "min",
    "ims_token_broker_certificates_expiring": "max",
    "ims_token_broker_clock_skew_seconds": "max",
    "ims_token_broker_build_info": "max",
    "process_virtual_memory_bytes": "sum",
    "process_resident_memory_bytes": "sum",
    "process_start_time_seconds": "min",
    # Each worker has its own limit.
    "process_open_fds": "max",
    "process_max_fds": "min",
}
"""How a gauge of several workers is combined: the worst value, or the sum."""

_CUMULATIVE = ("counter", "histogram")

_Key = tuple[str, tuple[tuple[str, str], ...]]


class _Family:
    """A metric with the combined samples of several workers."""

    def __init__(self, name: str, kind: str, text: str) -> None:
        self.name, self.kind, self.text = name, kind, text
        self._rule: Rule = "sum" if kind in _CUMULATIVE else GAUGE_RULES.get(name, "max")
        self._values: dict[_Key, float] = {}

    def add(self, samples: Iterable[Sequence[object]]) -> None:
        """Add the samples of a worker: name, labels, value."""
        for sample, labels, value in cast("Iterable[tuple[str, dict[str, str], float]]", samples):
            key = (sample, tuple(labels.items()))
            before = self._values.get(key, math.nan)
            self._values[key] = (
                value if math.isnan(before) else before if math.isnan(value) else self._of(before, value)
            )

    def _of(self, one: float, other: float) -> float:
        if self._rule == "sum":
            return one + other
        return max(one, other) if self._rule == "max" else min(one, other)

    def samples(self) -> list[tuple[str, dict[str, str], float]]:
        """All samples."""
        return [(name, dict(labels), value) for (name, labels), value in self._values.items()]

    def metric(self) -> Metric:
        """The metric as the library represents it."""
        metric = Metric(self.name, self.text, self.kind)
        for name, labels, value in self.samples():
            metric.add_sample(name, labels, value)
        return metric


class SharedMetrics:
    """The metrics of all workers. Create it before the fork; the same object then works in the parent and the workers.

    Args:
        workers: The number of workers.
        size: The most bytes of the metrics of a worker, and of the counts of all workers that have exited.

    """

    def __init__(self, workers: int, size: int = MAX_SHARED_BYTES) -> None:
        self._slots = [SharedSlot(size) for _ in range(workers)]
        self._ended = SharedSlot(size)

    def write(self, index: int, incarnation: int, families: Iterable[Metric]) -> None:
        """Replace what a worker has counted."""
        self._slots[index].write(_encoded(incarnation, [_plain(family) for family in families]))

    def end(self, index: int, incarnation: int) -> int:
        """Keep the counts of a worker that has exited. For the parent, before it replaces that worker.

        Returns:
            The series that there is no room for: 0, or all that the worker had. Those of earlier workers stay.

        """
        counted, families = _decoded(self._slots[index].read())
        if counted != incarnation:
            return 0  # It exited before it wrote anything.
        over, kept = self._read_ended()
        over[str(index)] = incarnation
        counts = [family for family in families if family[1] in _CUMULATIVE]
        merged: list[list[object]] = [
            [family.name, family.kind, family.text, family.samples()] for family in _merged([kept, counts])
        ]
        if self._write_ended(over, merged):
            return 0
        # The parent must go on, and scrapes must not take the exited worker for a running one.
        if not self._write_ended(over, kept):
            self._write_ended(over, [])
        return sum(len(cast("list[object]", family[3])) for family in counts)

    def _write_ended(self, over: dict[str, int], families: list[list[object]]) -> bool:
        """Whether there was room for it."""
        try:
            self._ended.write(json.dumps([over, families]).encode())
        except ValueError:
            return False
        return True

    def families(self) -> Iterator[Metric]:
        """The metrics of all running workers, with the counts of those that have exited."""
        running = [_decoded(slot.read()) for slot in self._slots]
        # Read last, so that it includes a worker that was replaced while the slots were read.
        over, kept = self._read_ended()
        parts = [kept] + [
            families for index, (incarnation, families) in enumerate(running) if incarnation > over.get(str(index), -1)
        ]
        return (family.metric() for family in _merged(parts))

    def _read_ended(self) -> tuple[dict[str, int], list[list[object]]]:
        """The last incarnation of each index that has exited, and the counts of all workers that have exited."""
        value = self._ended.read()
        if not value:
            return {}, []
        over, families = json.loads(value)
        return over, families


class WorkerMetrics(Collector):
    """The metrics of the replica, for one of its workers.

    Args:
        shared: The metrics of all workers.
        index: The index of this worker.
        incarnation: As in `app.process.worker_pool.Worker`.

    """

    def __init__(self, shared: SharedMetrics, index: int, incarnation: int) -> None:
        self._shared = shared
        self._index = index
        self._incarnation = incarnation

    def write(self, families: Iterable[Metric]) -> None:
        """Share this worker's metrics with all workers."""
        self._shared.write(self._index, self._incarnation, families)

    @override
    def collect(self) -> Iterator[Metric]:
        """The metrics of the replica."""
        return self._shared.families()


def _plain(family: Metric) -> list[object]:
    samples = [(sample.name, sample.labels, sample.value) for sample in family.samples]
    return [family.name, family.type, family.documentation, samples]


def _encoded(incarnation: int, families: list[list[object]]) -> bytes:
    return json.dumps([incarnation, families], separators=(",", ":")).encode()


def _decoded(value: bytes) -> tuple[int, list[list[object]]]:
    """The incarnation that wrote the value (-1 if none did), and its metrics."""
    if not value:
        return -1, []
    incarnation, families = json.loads(value)
    return incarnation, families


def _merged(parts: Iterable[list[list[object]]]) -> list[_Family]:
    found: dict[str, _Family] = {}
    for part in parts:
        for name, kind, text, samples in cast("list[tuple[str, str, str, list[Sequence[object]]]]", part):
            family = found.get(name)
            if family is None:
                family = found[name] = _Family(name, kind, text)
            family.add(samples)
    return list(found.values())
