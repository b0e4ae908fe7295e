"""Builds the FastAPI app behind the door: the routes, and problem documents for everything else."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from app import __version__
from app.api.endpoint import Endpoint, request_id_of
from app.api.gate import Gate
from app.api.headers import headers_routes
from app.api.health import Readiness, health_routes
from app.api.metadata import metadata_routes
from app.api.oauth2 import oauth2_routes
from app.api.openapi import SECURITY_SCHEMES
from app.api.orgs import orgs_routes
from app.api.problems import Problem, problem_body, unexpected_response
from app.api.token import token_routes
from app.api.warm import WarmLane
from app.ports import CallerVerifier, Clock, EventSink
from app.service.purges import Purges
from app.service.reload import PolicyInForce
from app.service.status import StatusReader
from app.service.vend import TokenVendor

_NOT_FOUND = (Problem(404, "Not found"), "not_found", "There is nothing at this path. See /openapi.json.")
_NOT_ALLOWED = (
    Problem(405, "Method not allowed"),
    "method_not_allowed",
    "This path does not answer this method; see the Allow header.",
)

_NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
"""FastAPI's own would record queries, and the texts and stacks of exceptions; ours is around the whole app."""


@dataclass(frozen=True, slots=True)
class Services:
    """What the API needs of the rest.

    Args:
        policy: The policy in force.
        verifier: Verifies callers' JWTs.
        vendor: Vends tokens.
        purges: Purges credentials.
        status: Tells what is known of tenants.
        sink: Listens to events.
        clock: Unix time in seconds.
        render_metrics: The metrics in Prometheus' text format.
        readiness: Set while this replica takes requests.
        public_url: The broker's URL as callers see it, or None.
        tls: What HTTPS is served with, or None for plain HTTP.
        enclose: Puts what listens to whole requests around the app; by default nothing.

    """

    policy: PolicyInForce
    verifier: CallerVerifier
    vendor: TokenVendor
    purges: Purges
    status: StatusReader
    sink: EventSink
    clock: Clock
    render_metrics: Callable[[], bytes]
    readiness: Readiness
    public_url: str | None = None
    tls: ssl.SSLContext | None = None
    enclose: Callable[[ASGIApp], ASGIApp] = lambda app: app


def create_api(services: Services) -> tuple[FastAPI, WarmLane]:
    """The app of the long way, and the warm lane that it teaches.

    A function, so that tests and production build the same app from their own parts.
    """
    gate = Gate(services.policy, services.verifier, services.clock)
    endpoint = Endpoint(gate, services.vendor, services.sink, services.clock)
    warm = WarmLane(gate, services.vendor)
    api = FastAPI(
        title="ims-token-broker",
        version=__version__,
        description="Hands short-lived Adobe IMS access tokens to internal services.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=_NO_TELEMETRY,
    )
    api.include_router(token_routes(endpoint, services.purges, warm))
    api.include_router(headers_routes(endpoint))
    api.include_router(oauth2_routes(endpoint))
    api.include_router(orgs_routes(endpoint, services.status))
    api.include_router(health_routes(services.readiness, services.render_metrics))
    api.include_router(metadata_routes(services.public_url))
    api.add_exception_handler(HTTPException, _http_error)
    api.add_exception_handler(Exception, _unexpected_error)
    _declare_security(api)
    return api, warm


async def _http_error(request: Request, error: Exception) -> Response:
    """Unknown paths and methods answer problem documents too."""
    assert isinstance(error, HTTPException)  # noqa: S101  # registered for it alone
    if error.status_code == 405:
        problem, code, detail = _NOT_ALLOWED
        headers = dict(error.headers or {}) | {"Allow": _methods_of(request)}
        return problem_body(problem, code, detail, request_id_of(request), headers=headers)
    problem, code, detail = _NOT_FOUND
    return problem_body(problem, code, detail, request_id_of(request))


async def _unexpected_error(request: Request, error: Exception) -> Response:  # noqa: ARG001  # the framework's signature
    """The constant answer; the framework raises the error on to the door, which logs it."""
    return unexpected_response(request_id_of(request))


def _methods_of(request: Request) -> str:
    """Every method of the path: the framework names only those of the first route it finds."""
    # An included router is one entry of `app.routes`; its routes are found by FastAPI's own walk through them.
    routes = [route for route in iter_route_contexts(request.app.routes) if route.path == request.scope["path"]]
    return ", ".join(sorted({method for route in routes for method in route.methods or ()}))


def _declare_security(api: FastAPI) -> None:
    describe = api.openapi

    def with_security() -> dict[str, Any]:
        document = describe()
        document.setdefault("components", {})["securitySchemes"] = SECURITY_SCHEMES
        return document

    api.openapi = with_security  # type: ignore[method-assign]  # FastAPI's documented way to extend its document
