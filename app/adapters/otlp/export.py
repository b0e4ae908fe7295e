"""From finished spans to the collector: a bounded queue, a thread, and a count of what was lost.

The SDK itself reads the endpoint, the interval and the headers from the standard ``OTEL_`` variables.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from typing_extensions import override

SHUTDOWN_SECONDS = 3.0
"""How long the end of the process waits for the last spans."""

_SERVICE = "ims-token-broker"
_SDK_LOGGER = "opentelemetry"

log = logging.getLogger(__name__)


class PreparedIds(RandomIdGenerator):
    """Makes ids; `prepared`, if not 0, becomes the id of the next span: it was sent to the other side already."""

    prepared = 0

    @override
    def generate_span_id(self) -> int:
        span, self.prepared = self.prepared, 0
        return span or super().generate_span_id()


class SpanExport:
    """Owns the SDK's parts. Spans that cannot be sent are lost and counted; no request waits for them.

    Args:
        version: The program's version.
        exporter: Instead of OTLP over HTTP as the ``OTEL_`` variables say.

    Raises:
        ValueError: A variable has a value that the SDK cannot use.

    """

    def __init__(self, version: str, exporter: SpanExporter | None = None) -> None:
        # What the SDK logs at each failure may quote the endpoint; the outage is logged once, in our own words.
        logging.getLogger(_SDK_LOGGER).setLevel(logging.CRITICAL + 1)
        self.ids = PreparedIds()
        self._delivery = _Delivery(exporter or OTLPSpanExporter(session=_session()))
        self._processor = _Counted(self._delivery)
        provider = TracerProvider(resource=_resource(version), shutdown_on_exit=False, id_generator=self.ids)
        provider.add_span_processor(self._processor)
        self.tracer = provider.get_tracer(_SERVICE, version)

    @classmethod
    def check(cls) -> None:
        """Try whether the ``OTEL_`` variables can be used.

        Raises:
            ValueError: One of them cannot.

        """
        cls("").end(0.0)

    @property
    def lost(self) -> int:
        """Spans lost since the start: too many waited, or the collector did not take them."""
        return self._processor.dropped + self._delivery.lost

    async def aclose(self) -> None:
        """Send the spans that wait, for `SHUTDOWN_SECONDS` at most; those left then are lost."""
        await asyncio.to_thread(self.end, SHUTDOWN_SECONDS)

    def end(self, seconds: float) -> None:
        """Send the spans that wait, for a limited time, and take no more; blocks."""
        self._processor.end_within(seconds)


class _Delivery(SpanExporter):
    """Hands batches on, in the processor's thread; counts, and logs an outage once."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._failing = False
        self.taken = 0
        self.lost = 0

    @override
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        try:
            result = self._exporter.export(spans)
        except Exception:  # noqa: BLE001  # it may be anything, and its text may hold the endpoint
            result = SpanExportResult.FAILURE
        fails = result is not SpanExportResult.SUCCESS
        if fails:
            self.lost += len(spans)
        if fails and not self._failing:
            log.warning("spans are lost: the collector does not take them")
        elif self._failing and not fails:
            log.info("the collector takes spans again")
        self._failing = fails
        return result

    @override
    def shutdown(self) -> None:
        self._exporter.shutdown()


class _Counted(BatchSpanProcessor):
    """Counts what its queue drops, which the SDK does not report: the oldest span for each one too many."""

    def __init__(self, delivery: _Delivery) -> None:
        room: int = self._default_max_queue_size()  # type: ignore[no-untyped-call]  # OTEL_BSP_MAX_QUEUE_SIZE
        self._room = room
        super().__init__(delivery, max_queue_size=room)
        self._delivery = delivery
        self._ended = 0
        self.dropped = 0

    @override
    def on_end(self, span: ReadableSpan) -> None:
        if span.context is None or not span.context.trace_flags.sampled:
            return
        self._ended += 1
        if self._ended - self.dropped - self._delivery.taken > self._room:
            self.dropped += 1
        super().on_end(span)

    def end_within(self, seconds: float) -> None:
        """Send the spans that wait, for a limited time; blocks."""
        self._batch_processor.shutdown(timeout_millis=int(seconds * 1000))


def _session() -> requests.Session:
    """No redirect, which would carry the headers elsewhere; no proxy and no .netrc of the environment."""
    session = requests.Session()
    session.trust_env = False
    session.max_redirects = 0
    return session


def _resource(version: str) -> Resource:
    """The name and the version of the service; the ``OTEL_`` variables take precedence."""
    ours = Resource.create({SERVICE_NAME: _SERVICE, SERVICE_VERSION: version})
    return ours.merge(OTELResourceDetector().detect())
