"""What Adobe's gateway checks about every API call: the API key and the token (docs/ims.md section 8)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.sandbox.state import SandboxState
from app.sandbox.tokens import IssuedRecord


class ApiRefusal(Exception):  # noqa: N818  # it is an answer, not an error of the sandbox
    """A refusal with the status, ``error_code`` and ``message`` that an Adobe API sends."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message

    def answer(self) -> Response:
        """The answer."""
        return JSONResponse({"error_code": self.code, "message": self.message}, self.status)


def token_of(state: SandboxState, request: Request, *, org: str | None = None) -> IssuedRecord:
    """The token of a call, if it is valid and belongs to the API key.

    Args:
        state: The clients and tokens.
        request: The call.
        org: The org that the call names, if this API asks for one.

    Raises:
        ApiRefusal: As the gateway would refuse the call.

    """
    api_key = request.headers.get("x-api-key")
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if not api_key:
        raise ApiRefusal(403, "403000", "Api Key is required")
    if org == "":
        raise ApiRefusal(403, "403000", "x-gw-ims-org-id is required")
    if state.clients.find(api_key) is None:
        raise ApiRefusal(403, "403003", "Api Key is invalid")
    if scheme.lower() != "bearer" or not token.strip():
        raise ApiRefusal(403, "403010", "Oauth token is missing")
    record = state.mint.find(token.strip())
    if record is None or record.revoked or record.expires_at <= state.clock():
        raise ApiRefusal(401, "401013", "Oauth token is not valid")
    if api_key != record.client_id:
        raise ApiRefusal(403, "403003", "Api Key is invalid")
    if org is not None and org != record.org_id:
        raise ApiRefusal(403, "403003", "Api Key is invalid for this organization")
    return record
