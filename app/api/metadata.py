"""``/.well-known/oauth-authorization-server``: the token endpoint described (RFC 8414)."""

from __future__ import annotations

import re

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.api import openapi
from app.api.frame import request_headers
from app.api.schemas import PROBLEM_SCHEMA
from app.domain.identity import JWT_ALGORITHMS

_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")


DISCOVERY = openapi.route(
    "The token endpoint described (RFC 8414)",
    "oauth_authorization_server",
    {
        200: openapi.json_answer({"type": "object"}, "Authorization server metadata."),
        503: openapi.error_answer(503, PROBLEM_SCHEMA, "The broker is overloaded"),
    },
)


def metadata_routes(public_url: str | None) -> APIRouter:
    """The route of ``/.well-known/oauth-authorization-server``.

    Args:
        public_url: The URL of the broker for its callers; None to take it from the Host of the request.

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
    router.add_api_route(path, describe, methods=["GET"], **DISCOVERY)
    return router


def _base_url(request: Request) -> str:
    hosts = request_headers(request, b"host")
    host = hosts[0].decode("latin-1") if len(hosts) == 1 else ""
    if _HOST.fullmatch(host) is None:
        host = "localhost"
    return f"{request.scope['scheme']}://{host}"
