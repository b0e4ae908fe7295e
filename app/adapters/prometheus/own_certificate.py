"""The broker's own certificate as a metric."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

from app.adapters.prometheus.declared import METRIC_PREFIX, Declarations

_NAME = "tls_not_after_timestamp_seconds"
_TEXT = "When the broker's own certificate ends; absent without one."


class OwnCertificate(Collector):
    """The end of the broker's own certificate. Without one there is no sample: 0 would look like one that has ended.

    Args:
        declare: Where other metrics are made.

    """

    def __init__(self, declare: Declarations) -> None:
        declare.note(_NAME, _TEXT)
        self._not_after: float | None = None

    def set(self, not_after: float) -> None:
        """Note the end, in Unix time."""
        self._not_after = not_after

    @override
    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily(f"{METRIC_PREFIX}_{_NAME}", _TEXT, value=self._not_after)
