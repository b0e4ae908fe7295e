"""How a metric is declared: once, with its name, its text and its labels, so that documents can list all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

METRIC_PREFIX = "ims_token_broker"


@dataclass(frozen=True, slots=True)
class Declared:
    """A metric as it is exported.

    Args:
        name: Its full name.
        labels: The names of its labels.
        text: Its help text.

    """

    name: str
    labels: Sequence[str]
    text: str


class Declarations:
    """Makes metrics in a registry, and remembers what it has made.

    Args:
        registry: Where the metrics are.

    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.all: list[Declared] = []

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        """A counter; its exported name ends in ``_total``."""
        self.note(f"{name}_total", text, *labels)
        return Counter(f"{METRIC_PREFIX}_{name}", text, labels, registry=self._registry)

    def gauge(self, name: str, text: str, *labels: str) -> Gauge:
        """A gauge."""
        self.note(name, text, *labels)
        return Gauge(f"{METRIC_PREFIX}_{name}", text, labels, registry=self._registry)

    def histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        """A histogram with these upper bounds, in seconds."""
        self.note(name, text, *labels)
        return Histogram(f"{METRIC_PREFIX}_{name}", text, labels, buckets=buckets, registry=self._registry)

    def note(self, name: str, text: str, *labels: str) -> None:
        """Remember a metric that is made elsewhere."""
        self.all.append(Declared(f"{METRIC_PREFIX}_{name}", labels, text))
