"""Calls an Adobe API once with a token, and looks at status and error code alone."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping

import httpx2

from app.domain.probe_answer import ProbeAnswer, ProbeUnavailableError
from app.domain.strict_json import strict_json
from app.egress import EgressProxy, ProxyFailure, connect_failure, outgoing_transport

_DEADLINE = 15.0
_MAX_BYTES = 64 * 1024
_LIMITS = httpx2.Limits(max_connections=20, max_keepalive_connections=0)


class AdobeApiProbe:
    """The `ApiProbe` over HTTP: one GET, no redirects, nothing from the environment.

    Args:
        verify: Trusted certificates; the system's if None.
        proxy: The egress proxy, or None to connect directly.

    """

    def __init__(self, verify: ssl.SSLContext | None = None, proxy: EgressProxy | None = None) -> None:
        self._client = httpx2.AsyncClient(
            transport=outgoing_transport(verify or httpx2.create_ssl_context(trust_env=False), _LIMITS, proxy),
            timeout=httpx2.Timeout(_DEADLINE),
            follow_redirects=False,
            trust_env=False,
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "ims-token-broker"},
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def get(self, url: str, headers: Mapping[str, str]) -> ProbeAnswer:
        """As `ApiProbe.get`."""
        try:
            async with asyncio.timeout(_DEADLINE), self._client.stream("GET", url, headers=headers) as response:
                code = await _error_code(response) if response.status_code >= 400 else None
                return ProbeAnswer(response.status_code, code)
        except (TimeoutError, httpx2.TimeoutException):
            detail = "The API did not answer in time."
        except ProxyFailure as error:
            detail = f"The API cannot be reached. {error}"
        except httpx2.ConnectError as error:
            detail = f"The API cannot be reached: {connect_failure(error).value}."
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError):
            detail = "The connection to the API failed."
        raise ProbeUnavailableError(detail)


async def _error_code(response: httpx2.Response) -> object:
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > _MAX_BYTES:
            return None
    try:
        answer = strict_json(bytes(body))
    except ValueError:
        return None
    return answer.get("error_code") if isinstance(answer, Mapping) else None
