"""``/livez``, ``/readyz``, ``/metrics`` and the description of the token endpoint (RFC 8414)."""

from __future__ import annotations

import re
from collections.abc import Callable

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.api import openapi
from app.api.endpoint import request_headers, request_id_of
from app.api.problems import Problem, problem_body
from app.domain.caller import JWT_ALGORITHMS

_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")
PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Readiness:
    """Whether this replica takes requests. It depends on no tenant, and on no outside system once it has started."""

    def __init__(self) -> None:
        self.ready = False


def health_routes(readiness: Readiness, render_metrics: Callable[[], bytes]) -> APIRouter:
    """The routes for operators. They need no credential and tell nothing of any tenant."""
    router = APIRouter()

    async def livez(request: Request) -> Response:  # noqa: ARG001  # the framework's signature
        return JSONResponse({"status": "ok"}, headers={"cache-control": "no-store"})

    async def readyz(request: Request) -> Response:
        if not readiness.ready:
            problem = Problem(503, "Not ready")
            detail = "The broker is starting or shutting down."
            headers = {"retry-after": "1"}
            return problem_body(problem, "not_ready", detail, request_id_of(request), retryable=True, headers=headers)
        return JSONResponse({"status": "ready"}, headers={"cache-control": "no-store"})

    async def metrics(request: Request) -> Response:  # noqa: ARG001  # the framework's signature
        return Response(render_metrics(), headers={"cache-control": "no-store", "content-type": PROMETHEUS_TEXT})

    router.add_api_route("/livez", livez, methods=["GET"], **openapi.LIVEZ)
    router.add_api_route("/readyz", readyz, methods=["GET"], **openapi.READYZ)
    router.add_api_route("/metrics", metrics, methods=["GET"], **openapi.METRICS)
    return router


def discovery_routes(public_url: str | None) -> APIRouter:
    """The route of ``/.well-known/oauth-authorization-server``.

    Args:
        public_url: The broker's URL as callers see it; None to take it from the request's Host.

    """
    router = APIRouter()

    async def describe(request: Request) -> Response:
        base = public_url or _base_url(request)
        return JSONResponse(
            {
                "issuer": base,
                "token_endpoint": f"{base}/oauth2/token",
                "grant_types_supported": ["client_credentials"],
                "response_types_supported": [],
                "token_endpoint_auth_methods_supported": [
                    "client_secret_basic",
                    "client_secret_post",
                    "private_key_jwt",
                ],
                "token_endpoint_auth_signing_alg_values_supported": list(JWT_ALGORITHMS),
            },
            headers={"cache-control": "no-store"},
        )

    path = "/.well-known/oauth-authorization-server"
    router.add_api_route(path, describe, methods=["GET"], **openapi.DISCOVERY)
    return router


def _base_url(request: Request) -> str:
    hosts = request_headers(request, b"host")
    host = hosts[0].decode("latin-1") if len(hosts) == 1 else ""
    if _HOST.fullmatch(host) is None:
        host = "localhost"
    return f"{request.scope['scheme']}://{host}"
