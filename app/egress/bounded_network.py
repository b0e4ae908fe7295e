"""Connections on which an answer ends at a bound, whatever it consists of.

The HTTP library bounds the head of an answer, and the reader of a body that body. Interim answers, such as
``100 Continue``, are bounded by neither: a server that sends them without end keeps the event loop busy with them.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Any

import httpcore2
import httpx2
from typing_extensions import override

HEAD_BYTES = 128 * 1024
"""For the head of an answer: more than the HTTP library accepts."""

PIECE_BYTES = 8 * 1024
"""Most bytes that are parsed before other tasks have a turn."""

MAX_ANSWERS = 16
"""Interim answers to one request, and the real one. The broker asks for none, and parsing them costs CPU time."""

_ANSWER = b"HTTP/1."
"""How each begins. No body that the broker can use has it often."""

SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]


class AnswerTooLongError(httpx2.RemoteProtocolError):
    """An answer with its head is longer than it may be, or too many interim answers came before it."""


class BoundedNetwork(httpcore2.AsyncNetworkBackend):
    """Opens connections for a pool.

    Args:
        network: What really opens them.
        limit: Most bytes of an answer, with its head and all interim answers.

    """

    def __init__(self, network: httpcore2.AsyncNetworkBackend, limit: int) -> None:
        self._network = network
        self._limit = limit

    @override
    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        stream = await self._network.connect_tcp(host, port, timeout, local_address, socket_options)
        return _BoundedStream(stream, self._limit)

    @override
    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[SocketOption] | None = None
    ) -> httpcore2.AsyncNetworkStream:
        return _BoundedStream(await self._network.connect_unix_socket(path, timeout, socket_options), self._limit)

    @override
    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)


class _BoundedStream(httpcore2.AsyncNetworkStream):
    """A connection of HTTP/1.1: what is read between two requests is one answer."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._read = 0
        self._answers = 0

    @override
    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = await self._stream.read(min(max_bytes, PIECE_BYTES), timeout)
        self._read += len(data)
        self._answers += data.count(_ANSWER)
        if self._read > self._limit or self._answers > MAX_ANSWERS:
            raise AnswerTooLongError("the answer is too long")
        return data

    @override
    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._read = self._answers = 0
        await self._stream.write(buffer, timeout)

    @override
    async def aclose(self) -> None:
        await self._stream.aclose()

    @override
    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        return _BoundedStream(await self._stream.start_tls(ssl_context, server_hostname, timeout), self._limit)

    @override
    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
