"""Operational logs: JSON lines on standard error, redacted."""

from app.adapters.json_logs.direct_handler import DirectLogHandler
from app.adapters.json_logs.json_lines import JsonFormatter, LogHandler, configure_logging, lines_lost
from app.adapters.json_logs.log_sink import LOGGER, LogSink

__all__ = ["LOGGER", "DirectLogHandler", "JsonFormatter", "LogHandler", "LogSink", "configure_logging", "lines_lost"]
