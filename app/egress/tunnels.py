"""Opens connections through the proxy (CONNECT). TLS with the target runs inside, so the proxy sees no contents.

The library has a proxy of its own. It takes the password once for all connections, does not say whether the proxy or
the target failed, and keeps a place in its pool for each connection whose handshake with the target failed.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from base64 import b64encode
from collections.abc import Iterable

import httpcore2
import httpx2
from typing_extensions import override

from app.egress.bounded_network import SocketOption
from app.egress.connect_failure import ConnectFailure, connect_failure
from app.egress.proxy import EgressProxy, ProxyPasswordError
from app.process.own_threads import OwnThreads, ThreadsBusyError, ThreadsClosedError

OPENING_SECONDS = 4.0
"""Seconds for a whole tunnel: fewer than an exchange or a fetch of keys has, so that a proxy that hangs is named."""

_MAX_HEAD_BYTES = 16 * 1024
_HEAD_END = b"\r\n\r\n"
_HTTP = b"HTTP/1."
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})[ \r]")
_LOGIN_REQUIRED = ("401", "407")
"""407 by RFC 9110; tinyproxy answers 401 to a wrong password."""


class ProxyFailure(httpx2.TransportError):
    """The proxy opened no tunnel. The text is one sentence for operators, without user or password."""


class ProxyTunnels(httpcore2.AsyncNetworkBackend):
    """Opens each connection of a pool through a proxy, with the password that is in its file at that time.

    Args:
        proxy: The proxy.

    """

    def __init__(self, proxy: EgressProxy) -> None:
        self._proxy = proxy
        self._address = httpx2.URL(proxy.url)
        self._network = httpcore2.AnyIOBackend()
        self._threads = OwnThreads("proxy-files", threads=1, waiting=256, deadline=2.0)
        self._tls: ssl.SSLContext | None = None

    @override
    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """A connection to `host`, by name: the proxy resolves it.

        Raises:
            ProxyFailure: There is none.

        """
        stream: httpcore2.AsyncNetworkStream | None = None
        try:
            async with asyncio.timeout(OPENING_SECONDS):
                login = await self._login()
                stream = await self._to_the_proxy(timeout, socket_options)
                await _ask(stream, f"[{host}]:{port}" if ":" in host else f"{host}:{port}", login)
        except BaseException as error:
            if stream is not None:
                await stream.aclose()
            if isinstance(error, TimeoutError):
                reason = proxy_unusable(ConnectFailure.TIMEOUT.value) if stream is None else _SILENT
                raise ProxyFailure(reason) from None
            raise
        return stream

    @override
    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[SocketOption] | None = None
    ) -> httpcore2.AsyncNetworkStream:
        return await self._network.connect_unix_socket(path, timeout, socket_options)

    @override
    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)

    def close(self) -> None:
        """Let the thread that reads files end."""
        self._threads.close()

    async def _to_the_proxy(
        self, timeout: float | None, socket_options: Iterable[SocketOption] | None
    ) -> httpcore2.AsyncNetworkStream:
        try:
            return await self._connected(timeout, socket_options)
        except httpcore2.TimeoutException:
            raise ProxyFailure(proxy_unusable(ConnectFailure.TIMEOUT.value)) from None
        except (httpcore2.NetworkError, UnicodeError) as error:
            raise ProxyFailure(proxy_unusable(connect_failure(error).value)) from None

    async def _login(self) -> tuple[str, str] | None:
        try:
            return await self._threads.run(self._proxy.read_login)
        except ProxyPasswordError as error:
            raise ProxyFailure(f"{error}, so there is no login for the proxy.") from None
        except (TimeoutError, ThreadsBusyError, ThreadsClosedError):
            raise ProxyFailure("BROKER_PROXY_PASSWORD_FILE cannot be read in time.") from None

    async def _connected(
        self, timeout: float | None, socket_options: Iterable[SocketOption] | None
    ) -> httpcore2.AsyncNetworkStream:
        """A connection to the proxy itself."""
        host, port = self._address.host, self._address.port
        assert port is not None  # noqa: S101  # the settings require it
        stream = await self._network.connect_tcp(host, port, timeout, socket_options=socket_options)
        if self._address.scheme == "http":
            return stream
        try:
            if self._tls is None:
                self._tls = await self._threads.run(ssl.create_default_context)
            return await stream.start_tls(self._tls, host, timeout)
        except BaseException as error:
            await stream.aclose()
            if isinstance(error, httpcore2.TimeoutException):
                raise ProxyFailure(_SILENT_TLS) from None
            raise


async def _ask(stream: httpcore2.AsyncNetworkStream, target: str, login: tuple[str, str] | None) -> None:
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", "User-Agent: ims-token-broker"]
    if login is not None:
        lines.append(f"Proxy-Authorization: Basic {b64encode(':'.join(login).encode()).decode()}")
    try:
        await stream.write("\r\n".join([*lines, "", ""]).encode())
        head, rest = await _head(stream)
    except httpcore2.NetworkError:
        raise ProxyFailure(_CLOSED) from None
    status = _STATUS.match(head)
    if not head:
        raise ProxyFailure(_CLOSED)
    # After a success there is nothing yet: the target speaks only once the handshake has begun.
    if status is None or (status[1].startswith(b"2") and rest):
        raise ProxyFailure(_NO_HTTP)
    if not status[1].startswith(b"2"):
        raise ProxyFailure(proxy_refusal(status[1].decode()))


async def _head(stream: httpcore2.AsyncNetworkStream) -> tuple[bytes, bytes]:
    """The head of the answer to CONNECT, and what came after it. A head without an end, or not of HTTP, is `?`."""
    received = b""
    while _HEAD_END not in received:
        piece = await stream.read(_MAX_HEAD_BYTES)
        received += piece
        is_http = received.startswith(_HTTP[: len(received)])
        if not piece or not is_http or len(received) > _MAX_HEAD_BYTES:
            return received and b"?", b""
    head, _, rest = received.partition(_HEAD_END)
    return head + _HEAD_END, rest


_CLOSED = (
    "The proxy of BROKER_PROXY_URL closed the connection instead of opening a tunnel; it may not be an HTTP proxy."
)
_SILENT = (
    "The proxy of BROKER_PROXY_URL did not answer in time; it cannot reach the host, is overloaded, or is not an HTTP"
    " proxy."
)
_SILENT_TLS = (
    "The proxy of BROKER_PROXY_URL did not answer the TLS handshake in time: if it serves plain HTTP, its URL must"
    " begin with http://."
)
_NO_HTTP = (
    "The proxy of BROKER_PROXY_URL does not answer as an HTTP proxy: check its port, and whether the URL begins with"
    " http:// or https://."
)


def proxy_unusable(reason: str) -> str:
    """The sentence for a proxy to which there is no connection, because of `reason`."""
    return f"The proxy of BROKER_PROXY_URL cannot be used: {reason}."


def proxy_refusal(status: str) -> str:
    """The sentence for a proxy that answers CONNECT with an HTTP `status` that is not a success."""
    if status in _LOGIN_REQUIRED:
        return (
            f"The proxy of BROKER_PROXY_URL asks for a login ({status}): check BROKER_PROXY_USERNAME and "
            "BROKER_PROXY_PASSWORD_FILE."
        )
    if status in {"500", "502", "503", "504"}:
        return f"The proxy of BROKER_PROXY_URL cannot reach the host ({status})."
    return f"The proxy of BROKER_PROXY_URL refuses to connect to the host ({status}): allow CONNECT to it there."
