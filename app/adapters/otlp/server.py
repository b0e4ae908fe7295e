"""The span of each request, started around the whole app, so that without tracing nothing of it is loaded."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from opentelemetry.trace import Span
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.adapters.otlp.spans import OtlpTracer, fail
from app.adapters.otlp.traceparent import parse_traceparent
from app.process.correlation import TRACE_POINT

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"})
_WARM = "/token"


class TracedApp:
    """Draws a span around each request of `app`.

    Attributes are those of OpenTelemetry's HTTP conventions, except for what the caller wrote: no path other than the
    route, no query, no header.

    Args:
        app: The whole app.
        tracer: Records the spans.
        untraced: Paths without a span: machines ask them every few seconds, with the same answer each time.

    """

    def __init__(self, app: ASGIApp, tracer: OtlpTracer, untraced: Set[str]) -> None:
        self._app = app
        self._tracer = tracer
        self._untraced = untraced

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"] in self._untraced:
            TRACE_POINT.set(None)  # A pipelined request begins in the context of the one before.
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        known = {"http.request.method": method, "url.scheme": scope["scheme"]}
        with self._tracer.request(_name(method), parse_traceparent(scope["headers"]), known) as span:
            try:
                await self._app(scope, receive, _Watched(send, span))
            finally:
                route = _route(scope)
                if route is not None:
                    span.set_attribute("http.route", route)
                    span.update_name(f"{_name(method)} {route}")


class _Watched:
    """A `send` that notes the status."""

    def __init__(self, send: Send, span: Span) -> None:
        self._send = send
        self._span = span

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            status = message["status"]
            self._span.set_attribute("http.response.status_code", status)
            if status >= 500:
                fail(self._span, str(status))
        await self._send(message)


def _name(method: str) -> str:
    return "HTTP" if method == "_OTHER" else method


def _route(scope: Scope) -> str | None:
    """The route as the app declares it; None for a path that it does not know, for that is raw input."""
    route: Any = scope.get("route")
    if route is None:
        # The warm path does not use the router.
        return _WARM if scope["path"] == _WARM else None
    path = getattr(route, "path", None)
    return path if isinstance(path, str) else None
