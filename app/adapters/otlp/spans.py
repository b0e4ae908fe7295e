"""The spans: some drawn around the service's steps, the calls of outside systems made from events.

An exception is recorded by its code or its type; its text and its stack may hold a secret.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags, set_span_in_context
from opentelemetry.trace.status import Status, StatusCode
from typing_extensions import override

from app.adapters.otlp.export import SpanExport
from app.adapters.otlp.traceparent import traceparent
from app.domain.dependency import dependency_works
from app.domain.errors import BrokerError
from app.domain.events import DependencyCalled, Event, ExchangeFinished, RequestDecided
from app.domain.names import CredentialRef, TokenKey
from app.ports import RequestSink
from app.process.correlation import TRACE_POINT, TracePoint

Result = TypeVar("Result")
Attributes = Mapping[str, str | int | bool]

_OURS = "ims_token_broker"

_REQUEST: ContextVar[Span | None] = ContextVar("request_span", default=None)
_VEND: ContextVar[Span | None] = ContextVar("vend_span", default=None)
_PREPARED: ContextVar[int] = ContextVar("prepared_span", default=0)


class OtlpTracer(RequestSink):
    """Draws all spans. It is a listener of events, too, and should be the first: audit lines name the trace.

    Args:
        export: Takes finished spans.
        tells_orgs: Whether org ids may be in attributes.

    """

    def __init__(self, export: SpanExport, *, tells_orgs: bool) -> None:
        self._export = export
        self._tells_orgs = tells_orgs
        # The spans of running calls, for requests that join one: never more than `SingleFlight` runs at once.
        self._flying: dict[TokenKey, TracePoint] = {}

    def outgoing(self) -> dict[str, str]:
        """The headers for the call that is about to be made, so that its span is the parent of the other side's."""
        point = TRACE_POINT.get()
        if point is None:
            return {}
        span = self._export.ids.generate_span_id()
        _PREPARED.set(span)
        return {"traceparent": traceparent(TracePoint(point.trace, span, point.sampled))}

    @contextmanager
    def request(self, name: str, parent: TracePoint | None, attributes: Attributes) -> Iterator[Span]:
        """The span of one request; a child of the caller's if it has named one."""
        span = self._start(name, parent, SpanKind.SERVER, attributes)
        trace, request = TRACE_POINT.set(_point(span)), _REQUEST.set(span)
        try:
            yield span
        finally:
            _REQUEST.reset(request)
            TRACE_POINT.reset(trace)
            span.end()

    @contextmanager
    def vend(self, ref: CredentialRef) -> Iterator[None]:
        """See `app.ports.Tracer`."""
        if TRACE_POINT.get() is None:
            yield
            return
        span = self._start("vend", TRACE_POINT.get(), SpanKind.INTERNAL, self._org(ref))
        trace, vend = TRACE_POINT.set(_point(span)), _VEND.set(span)
        try:
            with _failing(span):
                yield
        finally:
            _VEND.reset(vend)
            TRACE_POINT.reset(trace)
            span.end()

    def call(
        self, key: TokenKey, start: Callable[[], Coroutine[Any, Any, Result]], *, in_background: bool
    ) -> Coroutine[Any, Any, Result]:
        """See `app.ports.Tracer`."""
        beginner = TRACE_POINT.get()
        if in_background:
            # It outlives the request that started it. The keeper starts it without a request.
            links = [] if beginner is None else [Link(_context(beginner))]
            span = self._start("refresh", None, SpanKind.INTERNAL, self._org(key.ref), links)
        elif beginner is None:
            return start()
        else:
            span = self._start("flight", beginner, SpanKind.INTERNAL, self._org(key.ref))
        point = _point(span)
        if point is not None:
            self._flying[key] = point
        return self._flown(key, span, point, start)

    def joins(self, key: TokenKey) -> None:
        """See `app.ports.Tracer`."""
        point, span = self._flying.get(key), _VEND.get()
        if point is not None and span is not None:
            span.add_link(_context(point))

    @override
    def emit(self, event: Event) -> None:
        """See `app.ports.EventSink.emit`."""
        match event:
            case RequestDecided():
                self._decided(event)
            case ExchangeFinished(ref, kind, outcome, seconds, ims_error, debug_id):
                known = {f"{_OURS}.kind": kind, "ims.error_code": ims_error, "ims.debug_id": debug_id}
                given = {name: value for name, value in known.items() if value is not None}
                self._called("exchange", outcome, seconds, {**given, **self._org(ref)})
            case DependencyCalled("redis", operation, outcome, seconds):
                names = {"db.system.name": "redis", "db.operation.name": operation}
                self._called(f"redis {operation}", outcome, seconds, names)
            case DependencyCalled(("vault" | "jwks" | "kms") as system, operation, outcome, seconds):
                names = {"peer.service": system, f"{_OURS}.operation": operation}
                self._called(f"{system} {operation}", outcome, seconds, names)
            case _:
                pass

    async def _flown(
        self, key: TokenKey, span: Span, point: TracePoint | None, start: Callable[[], Coroutine[Any, Any, Result]]
    ) -> Result:
        TRACE_POINT.set(point)  # The task's own: it needs no way back.
        try:
            with _failing(span):
                return await start()
        finally:
            if self._flying.get(key) is point:
                self._flying.pop(key, None)
            span.end()

    def _decided(self, event: RequestDecided) -> None:
        point, span, decision = TRACE_POINT.get(), _REQUEST.get(), event.decision
        if point is None or span is None:
            return
        event.trace_id = point.trace_id
        known = {
            f"{_OURS}.request_id": event.request_id,
            f"{_OURS}.outcome": decision.outcome,
            f"{_OURS}.action": decision.action,
            f"{_OURS}.caller": decision.caller,
            f"{_OURS}.tier": decision.tier,
            "ims.org_id": decision.org if self._tells_orgs else None,
        }
        span.set_attributes({name: value for name, value in known.items() if value is not None})

    def _called(self, name: str, outcome: str, seconds: float, attributes: Attributes) -> None:
        """A call that has ended, as a span of the time that it took."""
        prepared = 0
        if not name.startswith("redis"):
            prepared = _PREPARED.get()
            _PREPARED.set(0)
        parent = TRACE_POINT.get()
        if parent is None:
            return  # The broker's own: logins that are due, the keys of issuers.
        end = time.time_ns()
        self._export.ids.prepared = prepared
        begin = end - int(seconds * 1e9)
        attributes = {**attributes, f"{_OURS}.outcome": outcome}
        span = self._start(name, parent, SpanKind.CLIENT, attributes, start_time=begin)
        if not dependency_works(outcome):
            fail(span, outcome)
        span.end(end)

    def _start(
        self,
        name: str,
        parent: TracePoint | None,
        kind: SpanKind,
        attributes: Attributes,
        links: list[Link] | None = None,
        start_time: int | None = None,
    ) -> Span:
        context = Context()  # Never the SDK's own, in which other libraries may have put something.
        if parent is not None:
            context = set_span_in_context(NonRecordingSpan(_context(parent, remote=kind is SpanKind.SERVER)), context)
        return self._export.tracer.start_span(name, context, kind, attributes, links, start_time, False, False)

    def _org(self, ref: CredentialRef) -> dict[str, str]:
        return {"ims.org_id": ref.org} if self._tells_orgs else {}


def fail(span: Span, error: str) -> None:
    """Mark `span` as failed with a code, or an exception's type."""
    span.set_status(Status(StatusCode.ERROR))
    span.set_attribute("error.type", error)


@contextmanager
def _failing(span: Span) -> Iterator[None]:
    try:
        yield
    except BrokerError as error:
        fail(span, error.code)
        raise
    except BaseException as error:
        fail(span, type(error).__name__)
        raise


def _context(point: TracePoint, *, remote: bool = False) -> SpanContext:
    return SpanContext(point.trace, point.span, is_remote=remote, trace_flags=TraceFlags(int(point.sampled)))


def _point(span: Span) -> TracePoint | None:
    context = span.get_span_context()
    return TracePoint(context.trace_id, context.span_id, context.trace_flags.sampled) if context.is_valid else None
