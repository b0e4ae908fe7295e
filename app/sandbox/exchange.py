"""The two exchanges over HTTP, with the faults that were set."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from app.sandbox.faults import REPLACES_ANSWER, Fault, FaultKind
from app.sandbox.grants import Granted, grant_for_assertion, grant_for_client, org_of
from app.sandbox.refusal import ImsRefusal
from app.sandbox.state import SandboxState

MAX_FORM_BODY = 64 * 1024
_LONGEST_HANG = 600.0
_OTHER_CLIENT = "another-client"
_OTHER_ORG = "FFFFFFFFFFFFFFFFFFFFFFFF@AdobeOrg"
_ABSURD = 10**17
_PAGE = "<!doctype html><html><body><h1>Something went wrong</h1></body></html>"
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
            return self._refused(endpoint, (None, None), refusal, None)
        who = org_of(self._state, form)
        fault = self._state.faults.take(*who)
        if fault is not None and fault.kind in REPLACES_ANSWER:
            # Noted before the wait, so that the journal shows exchanges that hang.
            self._note(endpoint, who, fault.kind.value, fault)
            return await _broken_answer(request, fault)
        if fault is not None and fault.kind is not FaultKind.DRIP:
            await asyncio.sleep(fault.seconds)
        try:
            granted = endpoint.decide(self._state, form)
        except ImsRefusal as refusal:
            return self._refused(endpoint, who, refusal, fault)
        return self._issued(endpoint, granted, fault)

    def _issued(self, endpoint: _Endpoint, granted: Granted, fault: Fault | None) -> Response:
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
        who = (granted.client.client_id, granted.org_id)
        self._note(endpoint, who, "issued", fault, digest)
        body: dict[str, object] = {"access_token": token, "expires_in": int(lifetime * _per_second(endpoint, kind))}
        if granted.client.kind != "enterprise_web_app":
            body["token_type"] = "bearer"
        if kind is not None and kind in _EXPIRES_IN:
            body["expires_in"] = _EXPIRES_IN[kind]
        if kind is FaultKind.ABSENT_EXPIRES_IN:
            del body["expires_in"]
        if fault is not None and kind is FaultKind.DRIP:
            dripping = _drip(json.dumps(body).encode(), fault.seconds or 1.0)
            return StreamingResponse(dripping, media_type="application/json")
        return JSONResponse(body)

    def _refused(
        self, endpoint: _Endpoint, who: tuple[str | None, str | None], refusal: ImsRefusal, fault: Fault | None
    ) -> Response:
        self._note(endpoint, who, refusal.error, fault)
        return JSONResponse(refusal.body(), refusal.status)

    def _note(
        self,
        endpoint: _Endpoint,
        who: tuple[str | None, str | None],
        outcome: str,
        fault: Fault | None,
        digest: str | None = None,
    ) -> None:
        struck_by = fault.kind.value if fault else None
        self._state.journal.add(self._state.clock(), endpoint.name, *who, outcome, fault=struck_by, token_sha256=digest)


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


async def _broken_answer(request: Request, fault: Fault) -> Response:
    if fault.kind is FaultKind.HANG:
        return await _hang(request)
    await asyncio.sleep(fault.seconds)
    match fault.kind:
        case FaultKind.STATUS:
            headers = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
            error = fault.error or ("too_many_requests" if fault.status == 429 else "service_unavailable")
            return JSONResponse({"error": error}, fault.status, headers)
        case FaultKind.HTML:
            return Response(_PAGE, media_type="text/html")
        case FaultKind.EMPTY:
            return Response(b"", media_type="application/json")
        case _:
            return Response(bytes(range(256)) * 4, media_type="application/json")


async def _hang(request: Request) -> Response:
    """Wait until the client disconnects. The wait is limited, so that a forgotten client does not stay forever."""
    try:
        async with asyncio.timeout(_LONGEST_HANG):
            while (await request.receive())["type"] != "http.disconnect":
                pass
    except (TimeoutError, ClientDisconnect):
        pass
    return JSONResponse({"error": "service_unavailable"}, 503)


async def _drip(body: bytes, seconds: float) -> AsyncIterator[bytes]:
    for value in body:
        yield bytes([value])
        await asyncio.sleep(seconds)
