"""Checks whether an IMS host can be reached, and whether its clock agrees with ours. No credential is sent."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx2

from app.adapters.ims.http_date import seconds_ahead
from app.diagnosis import CheckFinding, failed, fine, warning
from app.egress import ConnectFailure, ProxyFailure, connect_failure
from app.ports import Clock

_ADOBE = ".adobelogin.com"
_LARGEST_SKEW = 30.0
"""Seconds. An assertion lives minutes, and Adobe refuses one that ends too far ahead."""

_REMEDIES = {
    ConnectFailure.NAME: "Check BROKER_IMS_BASE_URLS and DNS; behind a proxy set BROKER_PROXY_URL.",
    ConnectFailure.CERTIFICATE: "Put its CA into the bundle of BROKER_IMS_CACERT, besides the public ones.",
}
_REMEDY = "Check BROKER_IMS_BASE_URLS, the firewall, and BROKER_PROXY_URL."


async def ims_finding(client: httpx2.AsyncClient, base_url: str, clock: Clock) -> CheckFinding:
    """What one GET without any credential says of the host.

    Args:
        client: As `ims_client` makes it.
        base_url: An allowed base URL.
        clock: Unix time in seconds.

    """
    adobe = (urlsplit(base_url).hostname or "").endswith(_ADOBE)
    try:
        sent = clock()
        # The sandbox has a page of its own; Adobe publishes its keys.
        answer = await client.get(f"{base_url}/ims/keys" if adobe else f"{base_url}/sandbox/health")
        ahead = seconds_ahead(answer.headers.get("Date"), sent, clock())
    except ProxyFailure as error:
        return failed(str(error), "Check BROKER_PROXY_URL and what the proxy allows.")
    except httpx2.ConnectError as error:
        failure = connect_failure(error)
        return failed(f"It cannot be reached: {failure.value}.", _REMEDIES.get(failure, _REMEDY))
    except httpx2.TimeoutException:
        return failed("It does not answer in time.", _REMEDY)
    except httpx2.HTTPError:
        return failed("The connection failed.", _REMEDY)
    kind = (
        "Adobe's"
        if adobe
        else "the sandbox"
        if answer.status_code == httpx2.codes.OK
        else "neither Adobe's nor the sandbox"
    )
    detail = f"It answers ({kind})"
    if ahead is None:
        return fine(f"{detail}, without a date to compare the clock with.")
    if abs(ahead) > _LARGEST_SKEW:
        side = "ahead" if ahead > 0 else "behind"
        return warning(
            f"{detail}; our clock is {abs(ahead):.0f} s {side}.", "Synchronise the clock of this machine (NTP)."
        )
    return fine(f"{detail}; the clocks agree within {max(1, round(abs(ahead)))} s.")
