"""Prometheus: events as counters and histograms, and present values as gauges, asked for at each scrape."""

from app.adapters.prometheus.sink import PrometheusSink
from app.adapters.prometheus.summed import SharedMetrics, WorkerMetrics

__all__ = ["PrometheusSink", "SharedMetrics", "WorkerMetrics"]
