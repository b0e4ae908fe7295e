"""The two exchanges over HTTP, with the faults that were set."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.sandbox.broken_answers import broken_answer, dripping, ims_error
from app.sandbox.faults import REPLACES_ANSWER, FaultKind
from app.sandbox.grants import Granted, grant_for_assertion, grant_for_client, org_of
from app.sandbox.journaled_request import JournaledRequest, received
from app.sandbox.refusal import ImsRefusal
from app.sandbox.state import SandboxState

MAX_FORM_BODY = 64 * 1024
_OTHER_CLIENT = "another-client"
_OTHER_ORG = "FFFFFFFFFFFFFFFFFFFFFFFF@AdobeOrg"
_ABSURD = 10**17
_EXPIRES_IN: Mapping[FaultKind, int] = {
    FaultKind.NEGATIVE_EXPIRES_IN: -86399,
    FaultKind.ZERO_EXPIRES_IN: 0,
    FaultKind.ABSURD_EXPIRES_IN: _ABSURD,
}


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """One of the two exchanges.

    Args:
        name: Its name in the journal.
        decide: Grants or refuses a token.
        per_second: The unit of ``expires_in``: 1000 for milliseconds, 1 for seconds.

    """

    name: str
    decide: Callable[[SandboxState, Mapping[str, str]], Granted]
    per_second: int


_JWT = _Endpoint("/ims/exchange/jwt", grant_for_assertion, 1000)
_TOKEN = _Endpoint("/ims/token", grant_for_client, 1)


def exchange_routes(state: SandboxState) -> list[Route]:
    """The routes of both exchanges, under all the paths that Adobe's own clients use."""
    exchanges = Exchanges(state)
    jwt_paths = ("/ims/exchange/jwt", "/ims/exchange/jwt/", "/ims/exchange/v1/jwt")
    token_paths = ("/ims/token/v3", "/ims/token/v2")
    return [
        *(Route(path, exchanges.jwt, methods=["POST"]) for path in jwt_paths),
        *(Route(path, exchanges.token, methods=["POST"]) for path in token_paths),
    ]


class Exchanges:
    """Answers exchanges from a `SandboxState`."""

    def __init__(self, state: SandboxState) -> None:
        self._state = state

    async def jwt(self, request: Request) -> Response:
        """``POST /ims/exchange/jwt``."""
        return await self._answer(request, _JWT)

    async def token(self, request: Request) -> Response:
        """``POST /ims/token/v3``."""
        return await self._answer(request, _TOKEN)

    async def _answer(self, request: Request, endpoint: _Endpoint) -> Response:
        try:
            form = await read_grant_form(request)
        except ImsRefusal as refusal:
            return self._refused(JournaledRequest(endpoint.name, None, None, request.state.debug_id, None), refusal)
        exchange = received(self._state, request, endpoint.name, *org_of(self._state, form))
        fault = exchange.fault
        if fault is not None and fault.kind in REPLACES_ANSWER:
            # Noted before the wait, so that the journal shows exchanges that hang.
            exchange.note(self._state, fault.kind.value)
            return await broken_answer(request, fault, ims_error(fault))
        if fault is not None and fault.kind not in {FaultKind.DRIP, FaultKind.LOST}:
            await asyncio.sleep(fault.seconds)
        try:
            granted = endpoint.decide(self._state, form)
        except ImsRefusal as refusal:
            return self._refused(exchange, refusal)
        response = self._issued(endpoint, exchange, granted)
        if fault is not None and fault.kind is FaultKind.LOST:
            return await broken_answer(request, fault, ims_error(fault))
        return response

    def _issued(self, endpoint: _Endpoint, exchange: JournaledRequest, granted: Granted) -> Response:
        fault = exchange.fault
        kind = fault.kind if fault else None
        state, lifetime = self._state, self._state.lifetime_of(granted.client)
        claims = {"client_id": granted.client.client_id, "user_id": granted.user_id, "scope": granted.scope}
        if kind is FaultKind.OTHER_CLIENT:
            claims["client_id"] = _OTHER_CLIENT
        if kind is FaultKind.OTHER_ORG:
            claims["org"] = _OTHER_ORG
        age = lifetime + 60 if kind is FaultKind.EXPIRED_TOKEN else 0
        token, digest = state.mint.issue(granted.org_id, claims, state.clock() - age, lifetime)
        if endpoint is _TOKEN:
            state.note_use(granted.client.client_id, granted.secret)
        exchange.note(state, "issued", digest)
        body: dict[str, object] = {"access_token": token, "expires_in": int(lifetime * _per_second(endpoint, kind))}
        if granted.client.kind != "enterprise_web_app":
            body["token_type"] = "bearer"
        if kind is not None and kind in _EXPIRES_IN:
            body["expires_in"] = _EXPIRES_IN[kind]
        if kind is FaultKind.ABSENT_EXPIRES_IN:
            del body["expires_in"]
        if fault is not None and kind is FaultKind.DRIP:
            return dripping(json.dumps(body).encode(), fault)
        return JSONResponse(body)

    def _refused(self, exchange: JournaledRequest, refusal: ImsRefusal) -> Response:
        exchange.note(self._state, refusal.error)
        return JSONResponse(refusal.body(), refusal.status)


async def read_grant_form(request: Request) -> dict[str, str]:
    """Read an urlencoded form of up to 64 KiB; the client id may be in the query, as from one of Adobe's libraries.

    Raises:
        ImsRefusal: The content type is another, the body is too large, or a field is repeated.

    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise ImsRefusal(400, "bad_request", "Send application/x-www-form-urlencoded")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_FORM_BODY:
            raise ImsRefusal(413, "bad_request", "The request is too large")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=100)
    except ValueError:
        raise ImsRefusal(400, "bad_request", "The form cannot be decoded") from None
    form = dict(pairs)
    if len(form) < len([name for name, _ in pairs if name != "resource"]):
        raise ImsRefusal(400, "bad_request", "A field is given twice")
    if "client_id" in request.query_params:
        form.setdefault("client_id", request.query_params["client_id"])
    return form


def _per_second(endpoint: _Endpoint, kind: FaultKind | None) -> int:
    if kind is FaultKind.WRONG_UNIT:
        return 1 if endpoint.per_second == 1000 else 1000
    return endpoint.per_second
