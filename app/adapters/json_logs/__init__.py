"""Operational logs: JSON lines on standard error, redacted."""

from app.adapters.json_logs.events import LOGGER, LogSink
from app.adapters.json_logs.lines import LogHandler, configure_logging, lines_lost

__all__ = ["LOGGER", "LogHandler", "LogSink", "configure_logging", "lines_lost"]
