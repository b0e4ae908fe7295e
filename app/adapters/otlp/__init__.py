"""Traces by OpenTelemetry, sent by OTLP over HTTP. Needs the extra ``otel``; imported only if tracing is on."""

from app.adapters.otlp.export import SpanExport
from app.adapters.otlp.server import TracedApp
from app.adapters.otlp.spans import OtlpTracer

__all__ = ["OtlpTracer", "SpanExport", "TracedApp"]
