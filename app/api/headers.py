"""``/headers``: the decision of ``GET /token`` as response headers, for nginx ``auth_request``, Envoy ``ext_authz``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.api import openapi
from app.api.answers import TOKEN_HEADERS, adobe_headers
from app.api.endpoint import Conversation, Endpoint
from app.api.parameters import parse_token_query
from app.domain.policy import Action

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""A gateway asks with its client's own method; all are answered alike."""


class _AnyMethod:
    """An endpoint as an ASGI app, which the framework does not restrict to some methods."""

    def __init__(self, endpoint: Callable[[Request], Awaitable[Response]]) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        response = await self._endpoint(Request(scope, receive, send))
        await response(scope, receive, send)


def headers_routes(endpoint: Endpoint) -> APIRouter:
    """The route of ``/headers``."""
    router = APIRouter()

    async def vend_headers(request: Request) -> Response:
        async def work(talk: Conversation) -> Response:
            identity = await endpoint.admit(request, talk)
            query = parse_token_query(request.scope["query_string"])
            talk.ref = query.ref
            token = await endpoint.obtain(
                talk, identity, Action.VEND, query.scopes, lambda key: endpoint.vendor.vend(key, query.min_ttl)
            )
            return Response(headers={**TOKEN_HEADERS, **adobe_headers(token)})

        return await endpoint.run(request, Conversation("/headers", Action.VEND), work)

    for method in METHODS:
        name = f"headers_{method.lower()}"
        router.add_api_route(
            "/headers", vend_headers, methods=[method], operation_id=name, name=name, **openapi.HEADERS
        )
    # A gateway may ask with any method at all (Envoy's ext_authz: its client's own); those are not worth describing.
    router.routes.append(Route("/headers", _AnyMethod(vend_headers), include_in_schema=False))
    return router
