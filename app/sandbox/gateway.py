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

from app.sandbox.state import SandboxState


def gateway_routes(state: SandboxState) -> list[Route]:
    """The routes of this module."""
    gateway = Gateway(state)
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    return [Route("/imp", gateway.answer, methods=methods), Route("/imp/{rest:path}", gateway.answer, methods=methods)]


class Gateway:
    """Checks an API call against the tokens that were issued."""

    def __init__(self, state: SandboxState) -> None:
        self._state = state

    async def answer(self, request: Request) -> Response:
        """200 with what the token and the headers name, or the error of the gateway."""
        api_key, org = request.headers.get("x-api-key"), request.headers.get("x-gw-ims-org-id")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not api_key:
            return _error(403, "403000", "Api Key is required")
        if not org:
            return _error(403, "403000", "x-gw-ims-org-id is required")
        if self._state.clients.find(api_key) is None:
            return _error(403, "403003", "Api Key is invalid")
        if scheme.lower() != "bearer" or not token.strip():
            return _error(403, "403010", "Oauth token is missing")
        record = self._state.mint.find(token.strip())
        if record is None or record.revoked or record.expires_at <= self._state.clock():
            return _error(401, "401013", "Oauth token is not valid")
        if api_key != record.client_id:
            return _error(403, "403003", "Api Key is invalid")
        if org != record.org_id:
            return _error(403, "403003", "Api Key is invalid for this organization")
        seen = {
            "client_id": record.client_id,
            "org_id": record.org_id,
            "sandbox": request.headers.get("x-sandbox-name"),
        }
        return JSONResponse({"status": "ok", "path": request.url.path, **seen})


def _error(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error_code": code, "message": message}, status)
