"""The HTTP client for every request to the internet: no redirects, no cookies, nothing from the environment.

A redirect would carry a credential to another host, and a cookie would tie one tenant's requests to another's.
"""

from __future__ import annotations

import ssl
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx2

from app.egress.proxy import EgressProxy
from app.egress.transport import outgoing_transport

_LARGEST = 4 * 1024 * 1024
"""Bytes of an answer to a command; what is read of it is bounded where it is read."""


def outgoing_client(transport: httpx2.AsyncBaseTransport, timeout: httpx2.Timeout) -> httpx2.AsyncClient:
    """A client that asks for JSON without compression; its owner closes it.

    Args:
        transport: Opens the connections; the client closes it.
        timeout: The limits of one request, in seconds.

    """
    return httpx2.AsyncClient(
        transport=transport,
        timeout=timeout,
        follow_redirects=False,
        trust_env=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "ims-token-broker"},
    )


def command_client(verify: ssl.SSLContext | None, proxy: EgressProxy | None, seconds: float) -> httpx2.AsyncClient:
    """A client for the few requests of a command: each request has a connection of its own.

    Args:
        verify: Trusted certificates; the system's if None.
        proxy: The egress proxy, or None to connect directly.
        seconds: The time for each step of a request.

    """
    limits = httpx2.Limits(max_connections=20, max_keepalive_connections=0)
    trusted = verify or httpx2.create_ssl_context(trust_env=False)
    return outgoing_client(outgoing_transport(trusted, limits, proxy, _LARGEST), httpx2.Timeout(seconds))
