"""A stand-in for an OpenTelemetry collector: takes OTLP over HTTP, decodes it, and keeps the spans."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from tests.support.http_stand_in import ReceivedRequest, ScriptedReply, StandIn, stand_in

_DEADLINE = 10.0
_LOOK_SECONDS = 0.02
_PATH = "/v1/traces"

BATCHES_AT_ONCE = {"OTEL_BSP_SCHEDULE_DELAY": "50"}
"""Sends what is finished each 50 ms, so that a test need not wait for 5 s."""


@dataclass(frozen=True)
class Span:
    """A span as a collector sees it; ids are lower-case hex, `parent` of a root is empty."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    attributes: Mapping[str, object]
    links: tuple[str, ...]
    failed: bool
    begin: int
    end: int


class Collector:
    """A collector and what it has received so far.

    Args:
        server: Its HTTP server.

    """

    def __init__(self, server: StandIn) -> None:
        self._server = server

    @property
    def env(self) -> dict[str, str]:
        """The variables that make an exporter send here."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self._server.url, **BATCHES_AT_ONCE}

    @property
    def requests(self) -> list[ReceivedRequest]:
        """All requests of exporters, in order."""
        return [seen for seen in tuple(self._server.seen) if seen.path == _PATH]

    @property
    def raw(self) -> bytes:
        """All bytes that were sent; text in protobuf is readable in them."""
        return b"\n".join(seen.body for seen in self.requests)

    @property
    def spans(self) -> list[Span]:
        """All spans, in the order in which they ended."""
        return [
            _span(span)
            for seen in self.requests
            for resource in ExportTraceServiceRequest.FromString(seen.body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def resources(self) -> list[dict[str, object]]:
        """The attributes of the resources that sent spans."""
        return [
            _attributes(resource.resource.attributes)
            for seen in self.requests
            for resource in ExportTraceServiceRequest.FromString(seen.body).resource_spans
        ]

    def trace(self, trace: str, count: int = 1, within: float = _DEADLINE) -> dict[str, Span]:
        """Wait for this many spans of a trace; the spans by name."""
        return {span.name: span for span in self.wait(lambda span: span.trace == trace, count, within)}

    def wait(self, fits: Callable[[Span], bool], count: int = 1, within: float = _DEADLINE) -> list[Span]:
        """Wait for this many spans that match."""
        end = time.monotonic() + within
        while True:
            found = [span for span in self.spans if fits(span)]
            if len(found) >= count:
                return found
            assert time.monotonic() < end, f"{count} spans were waited for: {[span.name for span in self.spans]}"
            time.sleep(_LOOK_SECONDS)


@contextlib.contextmanager
def collector(answer: Callable[[], ScriptedReply] = lambda: ScriptedReply(200)) -> Iterator[Collector]:
    """A collector for the length of a block; `answer` may wait, or refuse."""
    with stand_in(lambda _seen: answer()) as server:
        yield Collector(server)


def _span(span: OtlpSpan) -> Span:
    return Span(
        name=span.name,
        kind=OtlpSpan.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        attributes=_attributes(span.attributes),
        links=tuple(link.span_id.hex() for link in span.links),
        failed=span.status.code == 2,
        begin=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
    )


def _attributes(pairs: object) -> dict[str, object]:
    told: dict[str, object] = {}
    for pair in pairs:  # type: ignore[attr-defined]  # protobuf's container
        told[pair.key] = getattr(pair.value, pair.value.WhichOneof("value"))
    return told
