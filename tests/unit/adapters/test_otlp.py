"""Traces inside one process: the header's grammar, the tree of spans, and the count of lost spans."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from typing_extensions import override

from app.adapters.otlp import OtlpTracer, SpanExport
from app.adapters.otlp.traceparent import parse_traceparent, traceparent
from app.domain.decision import Decision
from app.domain.events import DependencyCalled, ExchangeFinished, RequestDecided
from app.process.correlation import TRACE_POINT, TracePoint
from tests.factories import KEY, ORG, REF
from tests.support.api_in_memory import ApiInMemory

TRACE, SPAN = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7
HEADER = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class RefusableExporter(SpanExporter):
    """An exporter that keeps spans, or refuses them."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []
        self.refuses = False

    @override
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self.refuses:
            raise OSError("cAnArY")
        self.spans += spans
        return SpanExportResult.SUCCESS


@pytest.fixture(autouse=True)
def _logging_restored() -> Iterator[None]:
    """Restore the SDK's logger."""
    level = logging.getLogger("opentelemetry").level
    yield
    logging.getLogger("opentelemetry").setLevel(level)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (HEADER, TracePoint(TRACE, SPAN, True)),
        (HEADER[:-1] + b"0", TracePoint(TRACE, SPAN, False)),
        (HEADER[:-2] + b"ff", TracePoint(TRACE, SPAN, True)),
        (b"cc" + HEADER[2:] + b"-later", TracePoint(TRACE, SPAN, True)),
        (b"cc" + HEADER[2:] + b"later", None),
        (HEADER + b"-", None),
        (b"ff" + HEADER[2:], None),
        (HEADER.upper(), None),
        (HEADER.replace(b"00f067aa0ba902b7", b"0" * 16), None),
        (HEADER.replace(b"4bf92f3577b34da6a3ce929d0e0e4736", b"0" * 32), None),
        (b"cc" + HEADER[2:] + b"-" + b"x" * 100, None),
        (HEADER + b"\n", None),
        (b"", None),
    ],
)
def test_only_a_well_formed_header_is_accepted(value: bytes, expected: TracePoint | None) -> None:
    """A header that W3C Trace Context allows is accepted, and nothing else."""
    assert parse_traceparent([(b"host", b"x"), (b"traceparent", value)]) == expected


def test_two_headers_are_ignored() -> None:
    """Two headers count as none, and a header that was sent is read as the same trace."""
    assert parse_traceparent([(b"traceparent", HEADER)] * 2) is None
    assert traceparent(TracePoint(TRACE, SPAN, True)).encode() == HEADER


async def test_a_call_has_the_id_that_was_sent_with_it() -> None:
    """The parent on the other side is the span of the call to it, even if Redis was called in between."""
    kept = RefusableExporter()
    export = SpanExport("1", kept)
    tracer = OtlpTracer(export, tells_orgs=False)
    assert tracer.outgoing() == {}, "outside a request there is nothing to pass on"
    tracer.emit(DependencyCalled("vault", "renew", "ok", 0.1))
    with tracer.request("GET /token", TracePoint(TRACE, SPAN, True), {}):
        header = tracer.outgoing()["traceparent"]
        tracer.emit(DependencyCalled("redis", "renew", "ok", 0.0))
        tracer.emit(DependencyCalled("vault", "read", "credential_store_unavailable", 2.0))
        tracer.emit(ExchangeFinished(REF, "jwt", "issued", 1.0))
        decided = RequestDecided(0.0, "id", Decision("/token", "vend", "vended", org=ORG))
        tracer.emit(decided)
    await export.aclose()

    spans = {span.name: span for span in kept.spans}
    assert list(spans) == ["redis renew", "vault read", "exchange", "GET /token"]
    vault = spans["vault read"]
    assert vault.context is not None
    assert header == f"00-{vault.context.trace_id:032x}-{vault.context.span_id:016x}-01"
    assert len({span.context.span_id for span in kept.spans if span.context}) == 4
    assert vault.start_time is not None
    assert vault.end_time is not None
    assert vault.end_time - vault.start_time == 2_000_000_000
    assert dict(vault.attributes or {})["error.type"] == "credential_store_unavailable"
    assert decided.trace_id == f"{TRACE:032x}"
    assert ORG not in str([span.to_json() for span in kept.spans])


@pytest.mark.parametrize(
    ("outcome", "fails"),
    [("issued", False), ("credential_rejected", False), ("cancelled", True), ("ims_unavailable", True)],
)
async def test_an_exchange_that_ims_answered_is_not_an_error(outcome: str, fails: bool) -> None:
    """A span is an error if and only if the metrics count its dependency as down, or the call was cancelled."""
    kept = RefusableExporter()
    export = SpanExport("1", kept)
    tracer = OtlpTracer(export, tells_orgs=False)
    with tracer.request("GET /token", None, {}):
        tracer.emit(ExchangeFinished(REF, "jwt", outcome, 1.0))
    await export.aclose()
    [exchange] = [span for span in kept.spans if span.name == "exchange"]
    assert exchange.status.is_ok is not fails
    assert dict(exchange.attributes or {}).get("error.type") == (outcome if fails else None)


async def test_an_exception_is_recorded_by_its_type_alone() -> None:
    """Neither the text of an exception nor its stack is in the span."""
    kept = RefusableExporter()
    export = SpanExport("1", kept)
    tracer = OtlpTracer(export, tells_orgs=True)

    async def call() -> None:
        raise RuntimeError("cAnArY")

    with tracer.request("GET /token", None, {}), pytest.raises(RuntimeError), tracer.vend(REF):
        await asyncio.create_task(tracer.call(KEY, call, in_background=False))
    assert TRACE_POINT.get() is None
    await export.aclose()
    told = {span.name: dict(span.attributes or {}) for span in kept.spans}
    assert told["flight"] == told["vend"] == {"ims.org_id": ORG, "error.type": "RuntimeError"}
    assert "cAnArY" not in str([span.to_json() for span in kept.spans])
    assert not [span.events for span in kept.spans if span.events]


async def test_untraced_work_makes_no_spans() -> None:
    """Outside a request neither a vend nor an in-flight call makes a span."""
    kept = RefusableExporter()
    export = SpanExport("1", kept)
    tracer = OtlpTracer(export, tells_orgs=True)

    async def call() -> int:
        return 7

    with tracer.vend(REF):
        tracer.joins(KEY)
        assert await tracer.call(KEY, call, in_background=False) == 7
    await export.aclose()
    assert kept.spans == []


async def test_a_refresh_outside_a_request_is_a_trace_of_its_own() -> None:
    """What the keeper refreshes is traced, without a parent or a link."""
    kept = RefusableExporter()
    export = SpanExport("1", kept)
    tracer = OtlpTracer(export, tells_orgs=False)

    async def call() -> int:
        assert TRACE_POINT.get() is not None
        return 7

    assert await asyncio.create_task(tracer.call(KEY, call, in_background=True)) == 7
    await export.aclose()
    [refresh] = kept.spans
    assert (refresh.name, refresh.parent, list(refresh.links)) == ("refresh", None, [])


async def test_every_span_is_sent_or_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans that were refused or did not fit into the queue are counted; all others arrived."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "16")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
    kept = RefusableExporter()
    export = SpanExport("1", kept)
    tracer = OtlpTracer(export, tells_orgs=True)
    for number in range(500):
        with tracer.request(f"GET /{number}", None, {}):
            pass
        kept.refuses = number % 100 < 30
        if number % 50 == 0:
            await asyncio.sleep(0.01)
    kept.refuses = False
    await export.aclose()
    assert export.lost > 0
    assert len(kept.spans) + export.lost == 500


async def test_the_framework_records_nothing_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """FastAPI's own telemetry, which would record queries, stays off even if a global provider is set."""
    kept = RefusableExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", provider)
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    assert (await ApiInMemory().get("/orgs?org=cAnArY", caller=None)).status == 401
    assert [span.name for span in kept.spans] == []


def test_an_unusable_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue size of zero is refused before anything is served."""
    SpanExport.check()
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "0")
    with pytest.raises(ValueError, match="max_queue_size"):
        SpanExport.check()


@pytest.mark.parametrize(("name", "version"), [(None, "7"), ("other", "8")])
async def test_the_resource_names_the_service(monkeypatch: pytest.MonkeyPatch, name: str | None, version: str) -> None:
    """The service has our name and version, unless the environment overrides them."""
    if name is not None:
        monkeypatch.setenv("OTEL_SERVICE_NAME", name)
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", f"service.version={version}")
    kept = RefusableExporter()
    export = SpanExport("7", kept)
    with OtlpTracer(export, tells_orgs=True).request("GET", None, {}):
        pass
    await export.aclose()
    attributes = kept.spans[0].resource.attributes
    assert (attributes["service.name"], attributes["service.version"]) == (name or "ims-token-broker", version)
