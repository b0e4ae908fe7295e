"""HTTP/1.1 as bytes on a socket: sends what no client library would, and opens a thousand connections beforehand."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

HOST = "127.0.0.1"
DEADLINE = 20.0
"""Seconds. No request of the product waits longer than 15."""

_LONGEST_ANSWER = 16 * 1024 * 1024

Header = tuple[bytes, bytes]


@dataclass(frozen=True)
class Reply:
    """An answer as it came.

    Args:
        status: Its status.
        headers: Its headers in order, names in lower case.
        body: Its body.
        seconds: From the first byte sent to the last one read.

    """

    status: int
    headers: tuple[Header, ...]
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        """The one value of a header, or None; fails if there are several."""
        values = [value for key, value in self.headers if key == name.lower().encode()]
        assert len(values) <= 1, f"{name} is given {len(values)} times"
        return values[0].decode() if values else None

    def but(self, *names: str) -> tuple[int, tuple[Header, ...]]:
        """Status and headers without these, to be compared byte by byte."""
        left_out = {name.lower().encode() for name in names}
        return self.status, tuple(header for header in self.headers if header[0] not in left_out)


class Connection:
    """One connection, for one request after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._began = 0.0

    async def send(self, data: bytes) -> None:
        """Send bytes as they are; a server that hangs up in the middle may still have answered."""
        self._began = time.monotonic()
        self._writer.write(data)
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    async def reply(self, *, bodiless: bool = False, within: float = DEADLINE) -> Reply:
        """Read one answer.

        Args:
            bodiless: The answer has no body whatever its headers say, as one to HEAD.
            within: Time limit, in seconds.

        Raises:
            ConnectionError: The server closed before a whole answer.
            TimeoutError: It did not come in time.

        """
        async with asyncio.timeout(within):
            try:
                head = await self._reader.readuntil(b"\r\n\r\n")
                status, headers = _head(head)
                body = b"" if bodiless or status in {204, 304} else await self._body(dict(headers))
            except asyncio.IncompleteReadError:
                raise ConnectionResetError("closed before a whole answer") from None
        return Reply(status, headers, body, time.monotonic() - self._began)

    async def request(self, data: bytes, *, bodiless: bool = False, within: float = DEADLINE) -> Reply:
        """Send a request and read its answer."""
        await self.send(data)
        return await self.reply(bodiless=bodiless, within=within)

    @property
    def ended(self) -> bool:
        """Whether the server has closed it, and all that it sent was read."""
        return self._reader.at_eof()

    async def aclose(self) -> None:
        """Close."""
        self._writer.close()
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(1.0):
                await self._writer.wait_closed()

    async def _body(self, headers: Mapping[bytes, bytes]) -> bytes:
        if b"content-length" in headers:
            return await self._reader.readexactly(int(headers[b"content-length"]))
        if headers.get(b"transfer-encoding") != b"chunked":
            return await self._reader.read(_LONGEST_ANSWER)
        body = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            body += (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readuntil(b"\r\n")
        return body


@contextlib.asynccontextmanager
async def connected(port: int, within: float = DEADLINE) -> AsyncIterator[Connection]:
    """A connection to a port of this machine, closed at the end."""
    async with asyncio.timeout(within):
        connection = Connection(*await asyncio.open_connection(HOST, port, limit=_LONGEST_ANSWER))
    try:
        yield connection
    finally:
        await connection.aclose()


async def exchange(port: int, data: bytes, *, bodiless: bool = False, within: float = DEADLINE) -> Reply:
    """One request on a connection of its own."""
    async with connected(port) as connection:
        return await connection.request(data, bodiless=bodiless, within=within)


def request_bytes(
    method: str, target: str, headers: Iterable[Header] = (), body: bytes = b"", *, host: bytes | None = b"broker.test"
) -> bytes:
    """A request, each header as given; ``Host`` and ``Content-Length`` are added."""
    lines = [f"{method} {target} HTTP/1.1".encode()]
    lines += [b"Host: " + host] if host is not None else []
    lines += [name + b": " + value for name, value in headers]
    if body:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", b""]) + body


def _head(head: bytes) -> tuple[int, tuple[Header, ...]]:
    first, *rest = head[:-4].split(b"\r\n")
    pairs = (line.partition(b":") for line in rest)
    return int(first.split(b" ")[1]), tuple((name.strip().lower(), value.strip()) for name, _, value in pairs)
