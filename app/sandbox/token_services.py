"""The rest of IMS that clients use: its keys, and the validation and revocation of tokens (docs/ims.md section 7)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.sandbox.exchange import read_grant_form
from app.sandbox.refusal import ImsRefusal
from app.sandbox.state import SandboxState
from app.sandbox.tokens import sha256

_SHOWN = ("id", "scope", "user_id", "expires_in", "client_id", "type")


def token_service_routes(state: SandboxState) -> list[Route]:
    """The routes of this module."""
    services = TokenServices(state)
    return [
        Route("/ims/keys", services.keys, methods=["GET"]),
        Route("/ims/validate_token/v1", services.validate, methods=["POST"]),
        Route("/ims/invalidate_token/v2", services.invalidate, methods=["POST"]),
        Route("/ims/revoke", services.invalidate, methods=["POST"]),
    ]


class TokenServices:
    """Answers requests about tokens from a `SandboxState`."""

    def __init__(self, state: SandboxState) -> None:
        self._state = state

    async def keys(self, _request: Request) -> Response:
        """``GET /ims/keys``: the key that signs access tokens."""
        return JSONResponse(self._state.mint.jwks())

    async def validate(self, request: Request) -> Response:
        """``POST /ims/validate_token/v1``: whether a token is valid; the status is 200 in both cases."""
        try:
            form = await read_grant_form(request)
        except ImsRefusal as refusal:
            return JSONResponse(refusal.body(), refusal.status)
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        record = self._state.mint.find(form.get("token") or (bearer.strip() if scheme.lower() == "bearer" else ""))
        good = record and not record.revoked and record.expires_at > self._state.clock()
        if record is None or not good or form.get("client_id") != record.client_id:
            return JSONResponse({"valid": False, "reason": "bad_signature" if record is None else "invalid_token"})
        token = {name: record.claims.get(name, "") for name in _SHOWN}
        return JSONResponse({"valid": True, "expires_at": int(record.expires_at * 1000), "token": token})

    async def invalidate(self, request: Request) -> Response:
        """``POST /ims/invalidate_token/v2`` and ``/ims/revoke``: revoke a token; 200 even for an unknown one."""
        try:
            form = await read_grant_form(request)
        except ImsRefusal as refusal:
            return JSONResponse(refusal.body(), refusal.status)
        self._state.mint.revoke(sha256(form.get("token", "")))
        return Response(status_code=200)
