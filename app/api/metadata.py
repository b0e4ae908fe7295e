"""``/.well-known/oauth-authorization-server``: the token endpoint described (RFC 8414)."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.api import openapi
from app.api.frame import request_headers, request_id_of
from app.api.problems import problem_response
from app.api.schemas import PROBLEM_SCHEMA
from app.domain.errors import InvalidRequestError
from app.domain.identity import JWT_ALGORITHMS

_PATH = "/.well-known/oauth-authorization-server"
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")


DISCOVERY = openapi.route(
    "The token endpoint described (RFC 8414)",
    "oauth_authorization_server",
    {
        200: openapi.json_answer({"type": "object"}, "Authorization server metadata."),
        400: openapi.error_answer(400, PROBLEM_SCHEMA, "The Host is not a host name or an address"),
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
        try:
            base = public_url or _base_url(request)
        except InvalidRequestError as error:
            return problem_response(error, request_id_of(request))
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

    openapi.add_get(router, _PATH, describe, DISCOVERY)
    path = urlsplit(public_url or "").path
    if path:
        # RFC 8414 section 3.1: the path of the issuer follows the well-known one.
        router.routes.append(Route(f"{_PATH}{path}", describe, include_in_schema=False))
    return router


def _base_url(request: Request) -> str:
    """The URL of the request, by its Host as it was sent.

    Raises:
        InvalidRequestError: It has no Host, or one that is not a name or an address.

    """
    hosts = request_headers(request, b"host")
    host = hosts[0].decode("latin-1") if len(hosts) == 1 else ""
    if _HOST.fullmatch(host) is None:
        raise InvalidRequestError("The Host header must be a host name or an address, with or without a port.")
    return f"{request.scope['scheme']}://{host}"
