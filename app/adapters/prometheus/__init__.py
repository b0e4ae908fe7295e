"""Prometheus: what happened as counters and histograms, and what is as gauges, asked for at each scrape."""

from app.adapters.prometheus.gauges import Watched
from app.adapters.prometheus.sink import PrometheusSink

__all__ = ["PrometheusSink", "Watched"]
