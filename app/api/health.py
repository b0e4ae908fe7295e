"""``/livez``, ``/readyz`` and ``/metrics``: for operators."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.api import openapi
from app.api.frame import request_id_of
from app.api.problems import Problem, problem_body
from app.api.schemas import PROBLEM_SCHEMA, TEXT, object_schema

PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8"

_LIVE, _READY, _METRICS = "/livez", "/readyz", "/metrics"
OPERATOR_PATHS = frozenset({_LIVE, _READY, _METRICS})
"""Paths for the operator's systems: they are not traced, and an overloaded replica still answers them."""


LIVEZ = openapi.route(
    "Whether the process is alive",
    "livez",
    {200: openapi.json_answer(object_schema({"status": TEXT}), "The process is alive.")},
)
READYZ = openapi.route(
    "Whether this replica accepts requests",
    "readyz",
    {
        200: openapi.json_answer(object_schema({"status": TEXT}), "This replica accepts requests."),
        503: openapi.error_answer(503, PROBLEM_SCHEMA, "Starting or shutting down"),
    },
)
METRICS = openapi.route(
    "Prometheus metrics",
    "metrics",
    {200: openapi.json_answer(TEXT, "The text format.", "text/plain")},
)


class Readiness:
    """Whether this replica accepts requests. It never depends on a tenant or, once started, on an external system."""

    def __init__(self) -> None:
        self.ready = False


def health_routes(readiness: Readiness, render_metrics: Callable[[], bytes]) -> APIRouter:
    """The routes for operators. They need no credential and say nothing about any tenant."""
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

    openapi.add_get(router, _LIVE, livez, LIVEZ)
    openapi.add_get(router, _READY, readyz, READYZ)
    openapi.add_get(router, _METRICS, metrics, METRICS)
    return router
