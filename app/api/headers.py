"""``/headers``: the decision of ``GET /token`` as response headers, for nginx ``auth_request``, Envoy ``ext_authz``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.api import openapi
from app.api.answers import HEADERS_ANSWER
from app.api.facts import RequestFacts
from app.api.frame import RequestFrame
from app.api.schemas import TEXT
from app.api.warm import WarmPath
from app.domain.policy import Action

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""A gateway sends the method of its client; the answer is the same for all methods."""


HEADERS = openapi.route(
    "Vend a token as response headers, for a gateway",
    None,
    {
        200: {
            "description": "The headers of an Adobe API call; no body.",
            "headers": {
                **openapi.TOKEN_ANSWER_HEADERS,
                **dict.fromkeys(("Authorization", "x-api-key", "x-gw-ims-org-id"), openapi.HEADER),
                "x-sandbox-name": {"schema": TEXT},
            },
        },
        **openapi.VENDING,
    },
    parameters=[openapi.ORG, openapi.CREDENTIAL, openapi.SCOPE, openapi.MIN_TTL],
    security=openapi.BEARER,
)


class _AnyMethod:
    """The function of a route as an ASGI app, so that the framework does not restrict its methods."""

    def __init__(self, endpoint: Callable[[Request], Awaitable[Response]]) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        response = await self._endpoint(Request(scope, receive, send))
        await response(scope, receive, send)


def headers_routes(frame: RequestFrame, warm: WarmPath) -> APIRouter:
    """The route of ``/headers``. `warm` is its warm path, which `vend_headers` prepares."""
    router = APIRouter()

    async def vend_headers(request: Request, facts: RequestFacts) -> Response:
        token = await frame.vended(request, facts, warm)
        return HEADERS_ANSWER.answer(token, frame.vendor.seconds_left(token)).response()

    vend = frame.around("/headers", Action.VEND, vend_headers)
    for method in METHODS:
        name = f"headers_{method.lower()}"
        router.add_api_route("/headers", vend, methods=[method], operation_id=name, name=name, **HEADERS)
    # A gateway may use any method (Envoy's ext_authz uses that of its client); these are not in /openapi.json.
    router.routes.append(Route("/headers", _AnyMethod(vend), include_in_schema=False))
    return router
