"""Chooses the way of each request: directly, or through the proxy."""

from __future__ import annotations

import ssl

import httpx2
from typing_extensions import override

from app.egress.proxied import ProxiedTransport
from app.egress.proxy import EgressProxy


def outgoing_transport(
    verify: ssl.SSLContext, limits: httpx2.Limits, proxy: EgressProxy | None
) -> httpx2.AsyncBaseTransport:
    """A transport for an `httpx2.AsyncClient`, which closes it. It reads nothing from the environment.

    Args:
        verify: Which certificates of targets are trusted.
        limits: The connections that are kept.
        proxy: The proxy, or None to connect directly.

    """

    def pool(through: httpx2.Proxy | None) -> httpx2.AsyncHTTPTransport:
        return httpx2.AsyncHTTPTransport(verify=verify, trust_env=False, http2=False, limits=limits, proxy=through)

    return pool(None) if proxy is None else _Routed(proxy, pool(None), ProxiedTransport(proxy, pool))


class _Routed(httpx2.AsyncBaseTransport):
    def __init__(self, proxy: EgressProxy, direct: httpx2.AsyncHTTPTransport, proxied: ProxiedTransport) -> None:
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
