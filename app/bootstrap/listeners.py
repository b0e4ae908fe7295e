"""The listeners to the stream of events: tracing, metrics, the audit log and the log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from app import __version__
from app.adapters.audit_log import AuditLog
from app.adapters.event_stream import EventStream
from app.adapters.json_logs import LogSink, lines_lost
from app.adapters.prometheus import PrometheusSink
from app.api.health import OPERATOR_PATHS
from app.bootstrap.workers import THE_ONLY_ONE, WorkerPlace
from app.ports import Clock
from app.settings.settings import Settings

if TYPE_CHECKING:
    from app.adapters.otlp import OtlpTracer


@dataclass(frozen=True, slots=True)
class Listeners:
    """The stream of events, and the two listeners that other parts use.

    Args:
        sink: Takes the events of all parts.
        metrics: Counts events, and reads gauges.
        audit_is_full: Whether no further request may be accepted, because its line in the audit log might be lost.
        tracer: Draws spans, or None if tracing is off.

    """

    sink: EventStream
    metrics: PrometheusSink
    audit_is_full: Callable[[], bool]
    tracer: OtlpTracer | None

    @property
    def enclose(self) -> Callable[[ASGIApp], ASGIApp]:
        """Wraps an app in the span of each request, if tracing is on."""
        if self.tracer is None:
            return lambda app: app
        from app.adapters.otlp import TracedApp

        tracer = self.tracer
        return lambda app: TracedApp(app, tracer, OPERATOR_PATHS)


@asynccontextmanager
async def listeners(settings: Settings, clock: Clock, place: WorkerPlace = THE_ONLY_ONE) -> AsyncIterator[Listeners]:
    """Run the listeners within the context. The audit log ends last.

    Raises:
        OSError: The audit log cannot be opened.

    """
    async with AsyncExitStack() as stack:
        audit = AuditLog(
            settings.audit_file,
            chained=settings.audit_chain,
            blocks=settings.audit_overflow == "block",
            lock=place.audit_lock,
        )
        stack.push_async_callback(audit.aclose)
        audit.start()
        metrics = PrometheusSink(CollectorRegistry(), clock, __version__, place.metrics)
        # Last, so that what the end of the process counts is in it.
        stack.callback(metrics.share)
        metrics.gauge("audit_lines_lost", lambda: audit.dropped)
        metrics.gauge("log_lines_lost", lines_lost)
        metrics.gauge("worker_restarts", lambda: place.replaces_another)
        tracer = _tracer(settings, stack, metrics)
        sink = EventStream()
        # The tracer first, because audit lines name the trace.
        for listener in (*(() if tracer is None else (tracer,)), metrics, audit):
            sink.add(listener)
        sink.add_without_requests(LogSink())
        yield Listeners(sink, metrics, audit.is_full, tracer)


def _tracer(settings: Settings, stack: AsyncExitStack, metrics: PrometheusSink) -> OtlpTracer | None:
    """The tracer, if tracing is on. Only then its library, which is an extra, is loaded."""
    if settings.tracing == "off":
        return None
    from app.adapters.otlp import OtlpTracer, SpanExport

    export = SpanExport(__version__)
    stack.push_async_callback(export.aclose)
    metrics.gauge("spans_lost", lambda: export.lost)
    return OtlpTracer(export, tells_orgs=settings.tracing_orgs)
