"""Answers that a fault replaces or slows down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from app.sandbox.faults import Fault, FaultKind

_LONGEST_HANG = 600.0
_PAGE = "<!doctype html><html><body><h1>Something went wrong</h1></body></html>"
_GATEWAY_ERRORS: Mapping[int, tuple[str, str]] = {
    401: ("401013", "Oauth token is not valid"),
    403: ("403003", "Api Key is invalid"),
    429: ("429050", "Too many requests"),
    503: ("503010", "Could not validate"),
}
"""What Adobe's gateway says with a status (docs/ims.md section 8)."""


def ims_error(fault: Fault) -> Mapping[str, str]:
    """The body of IMS for a fault with a status."""
    return {"error": fault.error or ("too_many_requests" if fault.status == 429 else "service_unavailable")}


def gateway_error(fault: Fault) -> Mapping[str, str]:
    """The body of Adobe's gateway for a fault with a status."""
    code, message = _GATEWAY_ERRORS.get(fault.status, (f"{fault.status}000", "Something went wrong"))
    return {"error_code": fault.error or code, "message": message}


async def broken_answer(request: Request, fault: Fault, error: Mapping[str, str]) -> Response:
    """What a fault sends instead of the answer; `error` is the body for ``status`` and ``lost``."""
    if fault.kind is FaultKind.HANG:
        return await _hang(request)
    await asyncio.sleep(fault.seconds)
    match fault.kind:
        case FaultKind.STATUS | FaultKind.LOST:
            headers = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
            return JSONResponse(error, fault.status, headers)
        case FaultKind.HTML:
            return Response(_PAGE, media_type="text/html")
        case FaultKind.EMPTY:
            return Response(b"", media_type="application/json")
        case _:
            return Response(bytes(range(256)) * 4, media_type="application/json")


def dripping(body: bytes, fault: Fault, status: int = 200) -> Response:
    """An answer in JSON, one byte at a time."""
    return StreamingResponse(_drip(body, fault.seconds or 1.0), status, media_type="application/json")


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
