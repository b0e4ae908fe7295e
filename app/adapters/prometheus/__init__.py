"""Prometheus: events as counters and histograms, and present values as gauges, asked for at each scrape."""

from app.adapters.prometheus.sink import PrometheusSink

__all__ = ["PrometheusSink"]
