"""Chooses for each request whether it goes directly or through the proxy."""

from __future__ import annotations

import socket
import ssl

import httpcore2
import httpx2
from typing_extensions import override

from app.egress.bounded_network import BoundedNetwork
from app.egress.proxy import EgressProxy
from app.egress.tunnels import ProxyTunnels

_RECEIVE_BUFFER = (socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
"""The event loop reads all that the system has received: without a bound, 2 MB at once from a server that floods."""


def outgoing_transport(
    verify: ssl.SSLContext, limits: httpx2.Limits, proxy: EgressProxy | None, largest: int
) -> httpx2.AsyncBaseTransport:
    """A transport for an `httpx2.AsyncClient`, which closes it. It reads nothing from the environment.

    Args:
        verify: Which certificates of targets are trusted.
        limits: The connections that are kept.
        proxy: The proxy, or None to connect directly.
        largest: Most bytes of an answer as sent, with its head.

    """
    direct = _Direct(verify, limits, largest)
    return direct if proxy is None else _Routed(proxy, direct, _Proxied(verify, limits, largest, proxy))


class _Direct(httpx2.AsyncHTTPTransport):
    def __init__(
        self,
        verify: ssl.SSLContext,
        limits: httpx2.Limits,
        largest: int,
        network: httpcore2.AsyncNetworkBackend | None = None,
    ) -> None:
        super().__init__(verify=verify, trust_env=False, http2=False, limits=limits)
        # The same pool, whose connections are bounded: the transport has no argument for that.
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=verify,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            socket_options=[_RECEIVE_BUFFER],
            network_backend=BoundedNetwork(network or httpcore2.AnyIOBackend(), largest),
        )


class _Proxied(_Direct):
    """As `_Direct`, but `ProxyTunnels` opens the connections."""

    def __init__(self, verify: ssl.SSLContext, limits: httpx2.Limits, largest: int, proxy: EgressProxy) -> None:
        self._tunnels = ProxyTunnels(proxy)
        super().__init__(verify, limits, largest, self._tunnels)

    @override
    async def aclose(self) -> None:
        self._tunnels.close()
        await super().aclose()


class _Routed(httpx2.AsyncBaseTransport):
    def __init__(self, proxy: EgressProxy, direct: _Direct, proxied: _Proxied) -> None:
        self._no_proxy = proxy.no_proxy
        self._direct = direct
        self._proxied = proxied

    @override
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        # A proxy would see the content of plain HTTP, which is for loopback only.
        is_direct = request.url.scheme == "http" or self._no_proxy.matches(request.url.host)
        return await (self._direct if is_direct else self._proxied).handle_async_request(request)

    @override
    async def aclose(self) -> None:
        await self._direct.aclose()
        await self._proxied.aclose()
