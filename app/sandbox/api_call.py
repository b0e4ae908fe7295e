"""What every call of an Adobe API has in common: key and token are checked, faults strike, the journal notes it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.sandbox.broken_answers import broken_answer, dripping, gateway_error
from app.sandbox.faults import REPLACES_ANSWER, FaultKind
from app.sandbox.journaled_request import JournaledRequest, received
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


def api_endpoint(
    state: SandboxState, name: str, handler: Callable[[Request], Awaitable[Response]], outcomes: Mapping[str, str]
) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint of an Adobe API.

    Args:
        state: The faults and the journal.
        name: Its name in the journal.
        handler: Answers a call, or raises `ApiRefusal`.
        outcomes: What the journal calls a success, by method.

    """

    async def answer(request: Request) -> Response:
        call = _call(state, request, name)
        fault = call.fault
        if fault is not None and fault.kind in REPLACES_ANSWER:
            call.note(state, fault.kind.value)
            return await broken_answer(request, fault, gateway_error(fault))
        if fault is not None and fault.kind is FaultKind.LATENCY:
            await asyncio.sleep(fault.seconds)
        try:
            response = await handler(request)
            call.note(state, outcomes.get(request.method, "ok"))
        except ApiRefusal as refusal:
            response = refusal.answer()
            call.note(state, refusal.code)
        if fault is not None and fault.kind is FaultKind.LOST:
            return await broken_answer(request, fault, gateway_error(fault))
        if fault is not None and fault.kind is FaultKind.DRIP:
            return dripping(bytes(response.body), fault, response.status_code)
        return response

    return answer


def _call(state: SandboxState, request: Request, name: str) -> JournaledRequest:
    """A call by the client that its API key names; the org is the one that it names, if that is the client's."""
    client = state.clients.find(request.headers.get("x-api-key", ""))
    if client is None:
        return received(state, request, name)
    org = request.headers.get("x-gw-ims-org-id")
    return received(state, request, name, client.client_id, org if org in client.consented_orgs else client.org_id)
