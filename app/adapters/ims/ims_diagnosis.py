"""Checks whether an IMS host can be reached, and whether its clock agrees with ours. No credential is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import urlsplit

import httpx2

from app.adapters.ims.http_date import seconds_ahead
from app.diagnosis import CheckFinding, failed, fine, skipped, warning
from app.egress import ConnectFailure, ProxyFailure, connect_failure
from app.ports import Clock

_ADOBE = ".adobelogin.com"
_LARGEST_SKEW = 30.0
_FATAL_SKEW = 60.0
"""Seconds. An assertion lives minutes, and Adobe refuses one that ends too far ahead. Tokens are not served in their
last 60 s, so that clocks may differ by that much (app/ARCHITECTURE.md, decision 5)."""

_SYNCHRONISE = "Synchronise the clock of this machine (NTP)."
_REMEDIES = {
    ConnectFailure.NAME: "Check BROKER_IMS_BASE_URLS and DNS; behind a proxy set BROKER_PROXY_URL.",
    ConnectFailure.CERTIFICATE: "Put its CA into the bundle of BROKER_IMS_CACERT, besides the public ones.",
}
_REMEDY = "Check BROKER_IMS_BASE_URLS, the firewall, and BROKER_PROXY_URL."


async def ims_finding(client: httpx2.AsyncClient, base_url: str) -> CheckFinding:
    """What one GET without any credential says of the host.

    Args:
        client: A client made by `ims_client`.
        base_url: An allowed base URL.

    """
    try:
        answer = await _ask(client, base_url)
    except ProxyFailure as error:
        return failed(str(error), "Check BROKER_PROXY_URL and what the proxy allows.")
    except httpx2.ConnectError as error:
        failure = connect_failure(error)
        return failed(f"It cannot be reached: {failure.value}.", _REMEDIES.get(failure, _REMEDY))
    except httpx2.TimeoutException:
        return failed("It does not answer in time.", _REMEDY)
    except httpx2.HTTPError:
        return failed("The connection failed.", _REMEDY)
    is_sandbox = answer.status_code == httpx2.codes.OK
    kind = "Adobe's" if _is_adobes(base_url) else "the sandbox" if is_sandbox else "neither Adobe's nor the sandbox"
    return fine(f"It answers ({kind}).")


async def clock_finding(
    client: httpx2.AsyncClient, base_urls: Sequence[str], clock: Clock, timeout: float
) -> CheckFinding:
    """Whether our clock agrees with the ``Date`` of the first IMS host that answers.

    Args:
        client: As `ims_client` makes it.
        base_urls: The allowed base URLs.
        clock: Unix time in seconds.
        timeout: Seconds for all hosts together.

    """
    asked = [asyncio.create_task(_ahead(client, base_url, clock)) for base_url in base_urls]
    try:
        async with asyncio.timeout(timeout):
            for answer in asyncio.as_completed(asked):
                ahead = await answer
                if ahead is not None:
                    return _of_skew(ahead)
    except TimeoutError:
        pass
    finally:
        for task in asked:
            task.cancel()
    return skipped("No IMS host answered with a date to compare the clock with.")


def _of_skew(ahead: float) -> CheckFinding:
    if abs(ahead) <= _LARGEST_SKEW:
        return fine(f"It agrees with that of IMS within {max(1, round(abs(ahead)))} s.")
    detail = f"Our clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} that of IMS."
    return warning(detail, _SYNCHRONISE) if abs(ahead) <= _FATAL_SKEW else failed(detail, _SYNCHRONISE)


async def _ahead(client: httpx2.AsyncClient, base_url: str, clock: Clock) -> float | None:
    sent = clock()
    try:
        answer = await _ask(client, base_url)
    except httpx2.HTTPError:
        return None
    return seconds_ahead(answer.headers.get("Date"), sent, clock())


async def _ask(client: httpx2.AsyncClient, base_url: str) -> httpx2.Response:
    """Adobe publishes its keys; the sandbox has a page of its own."""
    return await client.get(f"{base_url}/ims/keys" if _is_adobes(base_url) else f"{base_url}/sandbox/health")


def _is_adobes(base_url: str) -> bool:
    return (urlsplit(base_url).hostname or "").endswith(_ADOBE)
