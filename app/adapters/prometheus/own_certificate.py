"""The broker's own certificate as a metric."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

from app.adapters.prometheus.metrics import PREFIX


class OwnCertificate(Collector):
    """The end of the broker's own certificate; without one no sample, for 0 would look like one that has ended."""

    def __init__(self) -> None:
        self._not_after: float | None = None

    def set(self, not_after: float) -> None:
        """Note the end, in Unix time."""
        self._not_after = not_after

    @override
    def collect(self) -> Iterator[GaugeMetricFamily]:
        told = "When the certificate of the broker's own HTTPS ends."
        yield GaugeMetricFamily(f"{PREFIX}_tls_not_after_timestamp_seconds", told, value=self._not_after)
