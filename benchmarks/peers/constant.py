"""A constant answer of the size of ``GET /token``, as an ASGI app and as an RSGI app: what a server itself costs.

RSGI is granian's own interface, as the RSGI specification in granian's documentation describes it.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

SIZE = "CONSTANT_BODY_BYTES"
"""The variable that has the size of the body."""

_BODY = b"x" * int(os.environ.get(SIZE, "300"))
_HEADERS = (
    ("content-type", "application/json"),
    ("cache-control", "no-store"),
    ("pragma", "no-cache"),
    ("x-request-id", "0123456789abcdef"),
)
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-length", b"%d" % len(_BODY)),
        *((name.encode(), value.encode()) for name, value in _HEADERS),
    ],
}


class _RsgiProtocol(Protocol):
    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...


async def asgi(
    scope: Mapping[str, Any], _receive: object, send: Callable[[Mapping[str, Any]], Awaitable[None]]
) -> None:
    """The ASGI app."""
    if scope["type"] == "http":
        await send(_START)
        await send({"type": "http.response.body", "body": _BODY})


async def rsgi(_scope: object, protocol: _RsgiProtocol) -> None:
    """The RSGI app."""
    protocol.response_bytes(200, list(_HEADERS), _BODY)
