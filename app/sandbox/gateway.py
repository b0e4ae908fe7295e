"""Simulates one Adobe API behind Adobe's gateway: ``/imp/``, Journey Optimizer (docs/ims.md section 8).

| error | status | error_code |
|---|---|---|
| no ``X-Api-Key`` or no ``x-gw-ims-org-id`` | 403 | 403000 |
| a key that no client has, the key of another client, or an org that is not that of the token | 403 | 403003 |
| no token | 403 | 403010 |
| a token that is unknown, expired or revoked | 401 | 401013 |

Adobe does not publish what its gateway answers for a wrong org. Here it is 403003, because key, org and token belong
together.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.sandbox.api_call import api_endpoint, token_of
from app.sandbox.state import SandboxState


def gateway_routes(state: SandboxState) -> list[Route]:
    """The routes of this module."""
    endpoint = api_endpoint(state, "/imp", Gateway(state).answer, {})
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    return [Route("/imp", endpoint, methods=methods), Route("/imp/{rest:path}", endpoint, methods=methods)]


class Gateway:
    """Checks an API call against the tokens that were issued."""

    def __init__(self, state: SandboxState) -> None:
        self._state = state

    async def answer(self, request: Request) -> Response:
        """200 with what the token and the headers name, or the error of the gateway."""
        record = token_of(self._state, request, org=request.headers.get("x-gw-ims-org-id", ""))
        seen = {
            "client_id": record.client_id,
            "org_id": record.org_id,
            "sandbox": request.headers.get("x-sandbox-name"),
        }
        return JSONResponse({"status": "ok", "path": request.url.path, **seen})
