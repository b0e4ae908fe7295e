"""Calls an Adobe API once with a token, and looks at status and error code alone."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping

import httpx2

from app.domain.probe_answer import ProbeAnswer, ProbeUnavailableError
from app.domain.strict_json import strict_json
from app.egress import EgressProxy, ProxyFailure, bounded_body, command_client, connect_failure

_DEADLINE = 15.0
_MAX_BYTES = 64 * 1024


class AdobeApiProbe:
    """The `ApiProbe` over HTTP: one GET.

    Args:
        verify: Trusted certificates; the system's if None.
        proxy: The egress proxy, or None to connect directly.

    """

    def __init__(self, verify: ssl.SSLContext | None = None, proxy: EgressProxy | None = None) -> None:
        self._client = command_client(verify, proxy, _DEADLINE)

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
    try:
        answer = strict_json(await bounded_body(response, _MAX_BYTES))
    except ValueError:
        return None
    return answer.get("error_code") if isinstance(answer, Mapping) else None
