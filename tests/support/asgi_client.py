"""Sends exactly the bytes it is given to an ASGI app: repeated headers, slow bodies, odd methods."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message

Header = tuple[str, str | bytes]


@dataclass(frozen=True)
class AsgiResponse:
    """What came back."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of a header; fails if it is repeated."""
        values = [value for key, value in self.headers if key == name.lower()]
        assert len(values) <= 1, f"{name} is repeated"
        return values[0] if values else None

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a problem; checks what every problem has."""
        problem = self.json
        assert self.header("content-type") == "application/problem+json"
        assert self.header("cache-control") == "no-store"
        assert set(problem) == {"type", "title", "status", "detail", "code", "request_id", "retryable"}
        assert problem["status"] == self.status
        assert problem["request_id"] == self.header("x-request-id")
        return str(problem["code"])


class Body:
    """A request's body in chunks; `stalls` means that what follows never comes, `leaves` that the client goes."""

    def __init__(self, chunks: Iterable[bytes], *, stalls: bool = False, leaves: bool = False) -> None:
        self._chunks = list(chunks)
        self._stalls = stalls
        self._leaves = leaves
        self._done = asyncio.Event()

    async def receive(self) -> Message:
        """As an ASGI server's `receive`."""
        if self._chunks:
            chunk = self._chunks.pop(0)
            more = bool(self._chunks) or self._stalls or self._leaves
            return {"type": "http.request", "body": chunk, "more_body": more}
        if self._leaves:
            return {"type": "http.disconnect"}
        await self._done.wait()  # Forever: the client waits for its answer.
        raise AssertionError


async def send(
    app: ASGIApp,
    method: str,
    target: str,
    headers: Sequence[Header] = (),
    body: bytes | Body = b"",
    address: str = "192.0.2.1",
) -> AsgiResponse:
    """Send one request; `target` is path and query as on the wire."""
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode("latin-1"),
        "root_path": "",
        "server": ("broker.test", 80),
        "client": (address, 1234),
        "headers": [
            (name.lower().encode(), value if isinstance(value, bytes) else value.encode("latin-1"))
            for name, value in headers
        ],
        "state": {},
    }
    sent: list[Message] = []

    async def collect(message: Message) -> None:
        sent.append(message)

    await app(scope, (body if isinstance(body, Body) else Body([body])).receive, collect)
    assert [message["type"] for message in sent[:1]] == ["http.response.start"]
    assert not sent[-1].get("more_body", False)
    return AsgiResponse(
        sent[0]["status"],
        tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in sent[0]["headers"]),
        b"".join(message.get("body", b"") for message in sent[1:]),
    )
