"""The HTTP client for IMS: keeps connections, and repeats a request once if a kept one was closed."""

from __future__ import annotations

import ssl

import httpx2
from typing_extensions import override

from app.adapters.ims.body import MAX_BYTES
from app.egress import HEAD_BYTES, EgressProxy, outgoing_client, outgoing_transport

CONNECT_TIMEOUT = 2.0
READ_TIMEOUT = 5.0
"""Seconds between two pieces of an answer; the exchanger's own deadline bounds the whole."""

_KEEPALIVE_EXPIRY = 30.0
_MAX_IDLE = 20


def ims_client(
    verify: ssl.SSLContext | None = None, max_connections: int = 500, proxy: EgressProxy | None = None
) -> httpx2.AsyncClient:
    """The client to give to `HttpTokenExchanger`; its owner closes it.

    Args:
        verify: Trusted certificates; the system's if None.
        max_connections: Most connections open at once; one more waits for at most `READ_TIMEOUT` seconds.
        proxy: The egress proxy, or None to connect directly.

    """
    trusted = verify or httpx2.create_ssl_context(trust_env=False)
    return outgoing_client(
        _RetryOnClosedConnection(trusted, max_connections, proxy),
        httpx2.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT),
    )


class _RetryOnClosedConnection(httpx2.AsyncBaseTransport):
    """Repeats a request once, on a new connection, if a kept one was closed before any byte of the answer.

    A server may close an idle connection in the moment we use it. Whether it saw the request cannot be known; a second
    exchange is waste, never corruption, for IMS keeps old tokens valid.
    """

    def __init__(self, verify: ssl.SSLContext, max_connections: int, proxy: EgressProxy | None) -> None:
        kept = httpx2.Limits(
            max_connections=max_connections, max_keepalive_connections=_MAX_IDLE, keepalive_expiry=_KEEPALIVE_EXPIRY
        )
        fresh = httpx2.Limits(max_connections=max_connections, max_keepalive_connections=0)
        self._kept = outgoing_transport(verify, kept, proxy, HEAD_BYTES + MAX_BYTES)
        self._fresh = outgoing_transport(verify, fresh, proxy, HEAD_BYTES + MAX_BYTES)

    @override
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        connected = False

        async def watch(name: str, _info: object) -> None:
            nonlocal connected
            connected = connected or name.endswith("connect_tcp.started")

        request.extensions = {**request.extensions, "trace": watch}
        try:
            return await self._kept.handle_async_request(request)
        except (httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError):
            if connected:
                raise
        return await self._fresh.handle_async_request(request)

    @override
    async def aclose(self) -> None:
        await self._kept.aclose()
        await self._fresh.aclose()
