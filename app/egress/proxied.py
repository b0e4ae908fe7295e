"""A transport whose connections are tunnels through a proxy. TLS goes from end to end, with the target's name."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import httpx2
from typing_extensions import override

from app.egress.connect_failure import connect_failure
from app.egress.proxy import EgressProxy, ProxyPasswordError
from app.process.own_threads import OwnThreads, ThreadsBusyError, ThreadsClosedError

_MAX_RETIRED = 4
"""Pools of former passwords whose connections may still be in use."""

_LOGIN_REQUIRED = ("401", "407")
"""407 by RFC 9110; tinyproxy answers 401 to a wrong password."""


class ProxyFailure(httpx2.TransportError):
    """The proxy opened no tunnel. The text is one sentence for operators, without host, user or password."""


class ProxiedTransport(httpx2.AsyncBaseTransport):
    """Sends requests through the tunnels of a proxy.

    Args:
        proxy: The proxy.
        open_pool: Makes a pool of connections through a proxy with a login.

    """

    def __init__(self, proxy: EgressProxy, open_pool: Callable[[httpx2.Proxy], httpx2.AsyncHTTPTransport]) -> None:
        self._proxy = proxy
        self._open_pool = open_pool
        self._threads = OwnThreads("proxy-password", threads=1, waiting=256, deadline=2.0)
        self._login: tuple[str, str] | None = None
        self._pool: httpx2.AsyncHTTPTransport | None = None
        self._retired: list[httpx2.AsyncHTTPTransport] = []

    @override
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        pool = self._pool or await self._renewed(None)
        try:
            return await _tunnelled(pool, request)
        except httpx2.ProxyError as error:
            if not str(error).startswith(_LOGIN_REQUIRED) or (renewed := await self._renewed(pool)) is pool:
                raise ProxyFailure(_refusal(str(error))) from None
        try:
            # The password was changed since it was last read.
            return await _tunnelled(renewed, request)
        except httpx2.ProxyError as error:
            raise ProxyFailure(_refusal(str(error))) from None

    @override
    async def aclose(self) -> None:
        self._threads.close()
        for pool in (*self._retired, self._pool):
            if pool is not None:
                await pool.aclose()

    async def _renewed(self, refused: httpx2.AsyncHTTPTransport | None) -> httpx2.AsyncHTTPTransport:
        """The pool of the present login: `refused` itself if its login is still the present one."""
        try:
            login = await self._threads.run(self._proxy.read_login)
        except ProxyPasswordError as error:
            raise ProxyFailure(f"{error}, so there is no login for the proxy.") from None
        except (TimeoutError, ThreadsBusyError, ThreadsClosedError):
            raise ProxyFailure("BROKER_PROXY_PASSWORD_FILE cannot be read in time.") from None
        if self._pool is not None and (login == self._login or self._pool is not refused):
            return self._pool
        if self._pool is not None:
            await self._retire(self._pool)
        self._login = login
        self._pool = self._open_pool(httpx2.Proxy(self._proxy.url, auth=login, ssl_context=_proxy_tls(self._proxy.url)))
        return self._pool

    async def _retire(self, pool: httpx2.AsyncHTTPTransport) -> None:
        self._retired.append(pool)
        if len(self._retired) > _MAX_RETIRED:
            await self._retired.pop(0).aclose()


def _proxy_tls(url: str) -> ssl.SSLContext | None:
    return ssl.create_default_context() if url.startswith("https:") else None


async def _tunnelled(pool: httpx2.AsyncHTTPTransport, request: httpx2.Request) -> httpx2.Response:
    """The answer to a request.

    Raises:
        ProxyFailure: The proxy could not be reached.
        httpx2.ProxyError: The proxy answered, and opened no tunnel.
        httpx2.TransportError: The tunnel is open, and the rest failed.

    """
    watch = _Watch(request)
    try:
        return await pool.handle_async_request(request)
    except httpx2.ProxyError:
        raise
    except httpx2.TransportError as error:
        if watch.in_proxy:
            reason = connect_failure(error).value
            raise ProxyFailure(f"The proxy of BROKER_PROXY_URL cannot be used: {reason}.") from None
        raise
    finally:
        watch.end()


class _Watch:
    """Follows a request by the trace of the client: whether it has got as far as the proxy only."""

    def __init__(self, request: httpx2.Request) -> None:
        self.in_proxy = False
        self._request = request
        self._before = request.extensions
        self._outer = request.extensions.get("trace")
        request.extensions = {**request.extensions, "trace": self._note}

    def end(self) -> None:
        self._request.extensions = self._before

    async def _note(self, name: str, info: object) -> None:
        if name == "connection.connect_tcp.started":
            self.in_proxy = True
        elif name == "proxy.start_tls.started":
            self.in_proxy = False
        if self._outer is not None:
            await self._outer(name, info)


def _refusal(answer: str) -> str:
    status = answer[:3]
    if status in _LOGIN_REQUIRED:
        return (
            f"The proxy of BROKER_PROXY_URL asks for a login ({status}): check BROKER_PROXY_USERNAME and "
            "BROKER_PROXY_PASSWORD_FILE."
        )
    if status in {"500", "502", "503", "504"}:
        return f"The proxy of BROKER_PROXY_URL cannot reach the host ({status})."
    if not status.isdigit():
        return "The proxy of BROKER_PROXY_URL does not answer as an HTTP proxy."
    return f"The proxy of BROKER_PROXY_URL refuses to connect to the host ({status}): allow CONNECT to it there."
