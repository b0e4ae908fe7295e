"""Builds the FastAPI app inside `Door`: the routes, and problem documents for everything else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from app import __version__
from app.api.answers import HEADERS_ANSWER, OAUTH2_ANSWER, TOKEN_ANSWER
from app.api.caller_gate import CallerGate
from app.api.frame import RequestFrame, request_id_of
from app.api.headers import headers_routes
from app.api.health import Readiness, health_routes
from app.api.limits import Limits
from app.api.metadata import metadata_routes
from app.api.oauth2 import oauth2_error, oauth2_routes
from app.api.openapi import SECURITY_SCHEMES
from app.api.orgs import orgs_routes
from app.api.problems import Problem, problem_body, unexpected_response
from app.api.refusal_answers import ErrorResponse
from app.api.token import token_routes
from app.api.tokens import tokens_routes
from app.api.warm import WarmPath
from app.api.warm_batch import WarmBatch
from app.api.warm_form import WarmForm
from app.api.warm_head import WarmBody
from app.api.warm_memory import WarmMemory
from app.ports import CallerVerifier, Clock, RequestSink
from app.service.fleet_limits import FleetLimits
from app.service.purges import Purges
from app.service.reload import PolicyInForce
from app.service.status import StatusReader
from app.service.vend import TokenVendor

_NOT_FOUND = (Problem(404, "Not found"), "not_found", "There is nothing at this path. See /openapi.json.")
_NOT_ALLOWED = (
    Problem(405, "Method not allowed"),
    "method_not_allowed",
    "This path does not support this method; see the Allow header.",
)

_NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
"""Not FastAPI's own, which would record queries and exceptions. The broker's tracing wraps the whole app."""


@dataclass(frozen=True, slots=True)
class Services:
    """The services that the API needs.

    Args:
        policy: The policy in force.
        verifier: Verifies callers' JWTs.
        vendor: Vends tokens.
        purges: Purges credentials.
        status: Reads the status of tenants.
        sink: Listens to events.
        clock: Unix time in seconds.
        render_metrics: Renders the metrics in the Prometheus text format.
        readiness: Whether this replica accepts requests.
        audit_is_full: Whether no request may be accepted, because its line in the audit log might be lost.
        fleet_limits: The callers' limits that all replicas share.
        public_url: The URL of the broker for its callers, or None.
        workers: The number of processes of the replica, which share its limits.

    """

    policy: PolicyInForce
    verifier: CallerVerifier
    vendor: TokenVendor
    purges: Purges
    status: StatusReader
    sink: RequestSink
    clock: Clock
    render_metrics: Callable[[], bytes]
    readiness: Readiness
    audit_is_full: Callable[[], bool]
    fleet_limits: FleetLimits
    public_url: str | None = None
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Api:
    """The API, as `Door` needs it.

    Args:
        app: The app of the long path.
        warm: The warm paths that need only the head of a request, by path.
        refusals: The paths whose errors are not problem documents, with their error responses.
        limits: The limits on waiting requests and on their bodies.
        warm_bodies: The warm paths that need the body, too, by path.

    """

    app: ASGIApp
    warm: Mapping[str, WarmPath]
    refusals: Mapping[str, ErrorResponse]
    limits: Limits = field(default_factory=Limits)
    warm_bodies: Mapping[str, WarmBody] = field(default_factory=dict)


def create_api(services: Services, limits: Limits) -> Api:
    """Build the API.

    A function, so that tests and production build the same app from their own parts.
    """
    gate = CallerGate(services.policy, services.verifier, services.clock, services.fleet_limits, services.workers)
    vendor = services.vendor
    frame = RequestFrame(gate, vendor, services.sink, services.clock, limits)
    memory = WarmMemory()
    token = WarmPath("/token", TOKEN_ANSWER, gate, vendor, memory, methods=frozenset({"GET", "HEAD"}))
    headers = WarmPath("/headers", HEADERS_ANSWER, gate, vendor, memory)
    batch = WarmPath("/tokens", TOKEN_ANSWER, gate, vendor, memory)
    form = WarmPath("/oauth2/token", OAUTH2_ANSWER, gate, vendor, memory, verified=gate.forms, refuse=oauth2_error)
    api = FastAPI(
        title="ims-token-broker",
        version=__version__,
        description="Hands short-lived Adobe IMS access tokens to internal services.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=_NO_TELEMETRY,
    )
    api.include_router(token_routes(frame, services.purges, token))
    api.include_router(tokens_routes(frame, batch))
    api.include_router(headers_routes(frame, headers))
    api.include_router(oauth2_routes(frame, form))
    api.include_router(orgs_routes(frame, services.status))
    api.include_router(health_routes(services.readiness, services.render_metrics))
    api.include_router(metadata_routes(services.public_url))
    api.add_exception_handler(HTTPException, _http_error)
    api.add_exception_handler(Exception, _unexpected_error)
    _declare_security(api)
    heads = {path.endpoint: path for path in (token, headers)}
    bodies: dict[str, WarmBody] = {form.endpoint: WarmForm(form), batch.endpoint: WarmBatch(frame, batch)}
    return Api(api, heads, {form.endpoint: oauth2_error}, limits, bodies)


async def _http_error(request: Request, error: Exception) -> Response:
    """Unknown paths and methods also get problem documents."""
    assert isinstance(error, HTTPException)  # noqa: S101  # registered only for this
    if error.status_code == 405:
        problem, code, detail = _NOT_ALLOWED
        headers = dict(error.headers or {}) | {"Allow": _methods_of(request)}
        return problem_body(problem, code, detail, request_id_of(request), headers=headers)
    problem, code, detail = _NOT_FOUND
    return problem_body(problem, code, detail, request_id_of(request))


async def _unexpected_error(request: Request, error: Exception) -> Response:  # noqa: ARG001  # the framework's signature
    """The constant answer; the framework passes the error on to `Door`, which logs it."""
    return unexpected_response(request_id_of(request))


def _methods_of(request: Request) -> str:
    """All methods of the path: the framework names only those of the first route that it finds."""
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
