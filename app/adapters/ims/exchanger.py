"""The exchange: a grant is posted to IMS and becomes a token or a typed refusal, always within the deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx2

from app.adapters.ims.body import read_json
from app.adapters.ims.host_breaker import TRIAL_PAUSE, Evidence, HostBreakers
from app.adapters.ims.http_date import seconds_ahead
from app.adapters.ims.refusals import cleaned, rejection
from app.adapters.ims.retry_after import DEFAULT_DELAY, retry_after
from app.domain.dependency_errors import ImsUnavailableError
from app.domain.errors import BrokerError
from app.domain.events import ClockCompared, ExchangeFinished
from app.domain.grant import Grant, IssuedToken
from app.domain.tenant_errors import BadUpstreamResponseError, CredentialRejectedError
from app.domain.token_response import issued_token
from app.egress import AnswerTooLongError, ConnectFailure, ProxyFailure, connect_failure
from app.ports import Clock, EventSink
from app.process.observed_call import ObservedCall

DEADLINE = 10.0
"""Seconds for one exchange, from waiting for a connection to the last byte of the answer."""


_ONLY_BY_PROXY = " If IMS is reached through a proxy only, set BROKER_PROXY_URL."
_PAST_THE_PROXY = " BROKER_PROXY_URL is set: check whether BROKER_NO_PROXY excludes this host from it."

_REMEDIES = {
    ConnectFailure.NAME: " Check ims_base_url and DNS.",
    ConnectFailure.TIMEOUT: _ONLY_BY_PROXY,
    ConnectFailure.NETWORK: _ONLY_BY_PROXY,
    ConnectFailure.CERTIFICATE: " If a proxy on the way inspects TLS, put its CA into the bundle of BROKER_IMS_CACERT.",
    ConnectFailure.CERTIFICATE_HOST: " Another server answers for this name: check ims_base_url and DNS.",
    ConnectFailure.CERTIFICATE_TIME: " Check the clock; if it is right, another server may answer for this name.",
    ConnectFailure.NOT_TLS: " Check the port in ims_base_url.",
}
"""What to do, for the failures that have a usual remedy."""


@dataclass(slots=True)
class _Call:
    """What is known about a call after it has ended, even with an error."""

    debug_id: str | None = None
    ims_error: str | None = None
    evidence: Evidence = Evidence.NONE
    detail: str = ""


class HttpTokenExchanger:
    """Presents grants to IMS.

    Args:
        client: From `ims_client`; its owner closes it.
        clock: Unix time in seconds.
        sink: Takes the events of each exchange.
        deadline: Seconds for one exchange.
        outgoing: Further headers of each exchange; asked once for each.
        has_proxy: Whether the client has an egress proxy.
        breakers: The circuit breakers of the hosts.

    """

    def __init__(
        self,
        client: httpx2.AsyncClient,
        clock: Clock,
        sink: EventSink,
        deadline: float = DEADLINE,
        outgoing: Callable[[], Mapping[str, str]] = dict,
        *,
        has_proxy: bool = False,
        breakers: HostBreakers | None = None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._sink = sink
        self._deadline = deadline
        self._outgoing = outgoing
        self._has_proxy = has_proxy
        self._breakers = breakers or HostBreakers()

    async def exchange(self, grant: Grant) -> IssuedToken:
        """Present a grant; see `app.ports.TokenExchanger` for the errors."""
        call, ref, kind = _Call(), grant.credential.ref, grant.credential.kind.value
        breaker = self._breakers.of(grant.url)
        attempt = breaker.start(ref.org)
        if attempt is None:
            raise ImsUnavailableError(breaker.last_detail, TRIAL_PAUSE)
        observed = ObservedCall(self._sink, "ims", "exchange", _outcome_of)
        try:
            with observed:
                return await self._within_deadline(grant, call)
        except CredentialRejectedError as error:
            call.ims_error = error.ims_error
            raise
        finally:
            breaker.end(attempt, call.evidence, call.detail)
            outcome = "issued" if observed.outcome == "ok" else observed.outcome
            self._sink.emit(ExchangeFinished(ref, kind, outcome, observed.seconds, call.ims_error, call.debug_id))

    @property
    def breaker_is_open(self) -> bool:
        """Whether the circuit breaker of any IMS host is open."""
        return self._breakers.any_is_open

    async def _within_deadline(self, grant: Grant, call: _Call) -> IssuedToken:
        evidence = Evidence.FAILED
        try:
            async with asyncio.timeout(self._deadline):
                return await self._post(grant, call)
        except ProxyFailure as error:
            evidence, detail = Evidence.UNREACHABLE, f"IMS cannot be reached. {error}"
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            evidence, detail = Evidence.UNREACHABLE, self._connect_detail(error)
        except httpx2.PoolTimeout:
            evidence = Evidence.NONE
            detail = "The broker has as many connections to IMS as it opens at most, and none became free in time."
        except AnswerTooLongError:
            raise BadUpstreamResponseError("it is too long", call.debug_id) from None
        except httpx2.RemoteProtocolError as error:
            # A peer that closed the connection is gone; one that wrote something else than HTTP is not IMS.
            if "disconnected" not in str(error) and "closed" not in str(error):
                raise BadUpstreamResponseError("it is not well-formed HTTP", call.debug_id) from None
            detail = "IMS closed the connection without a whole answer."
        except (TimeoutError, httpx2.TimeoutException):
            detail = "IMS did not answer in time."
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError):
            detail = "The connection to IMS failed."
        call.evidence, call.detail = evidence, detail
        raise ImsUnavailableError(detail, debug_id=call.debug_id) from None

    async def _post(self, grant: Grant, call: _Call) -> IssuedToken:
        sent = self._clock()
        form, headers = dict(grant.form), dict(self._outgoing())
        async with self._client.stream("POST", grant.url, data=form, headers=headers) as response:
            call.evidence = Evidence.ANSWERED if response.status_code < 500 else Evidence.FAILED
            call.detail = f"IMS answered {response.status_code}."
            self._compare_clocks(response.headers.get("date"), sent)
            call.debug_id = cleaned(response.headers.get("x-debug-id"), grant.secrets)
            try:
                if response.status_code == 200:
                    payload = await read_json(response)
                    return issued_token(grant, payload, self._clock())
                raise await self._refusal(grant, response, call.debug_id)
            except BadUpstreamResponseError as error:
                raise BadUpstreamResponseError(error.reason, call.debug_id) from None

    def _connect_detail(self, error: httpx2.TransportError) -> str:
        failure = connect_failure(error)
        remedy = _REMEDIES.get(failure, "")
        if self._has_proxy and remedy == _ONLY_BY_PROXY:
            remedy = _PAST_THE_PROXY
        return f"IMS cannot be reached: {failure.value}.{remedy}"

    def _compare_clocks(self, date: str | None, sent: float) -> None:
        ahead = seconds_ahead(date, sent, self._clock())
        if ahead is not None:
            self._sink.emit(ClockCompared(ahead))

    async def _refusal(self, grant: Grant, response: httpx2.Response, debug_id: str | None) -> BrokerError:
        status = response.status_code
        if status in {400, 401, 403}:
            return await self._rejected(grant, response, debug_id)
        if status == 429 or status >= 500:
            return await self._unavailable(grant, response, debug_id)
        if 300 <= status < 400:
            return BadUpstreamResponseError("it is a redirect, which is never followed", debug_id)
        return BadUpstreamResponseError(f"its status is {status}", debug_id)

    async def _rejected(self, grant: Grant, response: httpx2.Response, debug_id: str | None) -> BrokerError:
        status = response.status_code
        try:
            return rejection(grant, status, await read_json(response), debug_id)
        except BadUpstreamResponseError as error:
            if status != 403:
                raise
            reason = f"its status is 403 without an OAuth error ({error.reason}); a firewall or proxy may have answered"
            return BadUpstreamResponseError(reason, debug_id)

    async def _unavailable(self, grant: Grant, response: httpx2.Response, debug_id: str | None) -> ImsUnavailableError:
        status, delay = response.status_code, response.headers.get("retry-after")
        if status == 429 or delay is not None:
            # The body is not read: the delay must be known even if the rest of the answer never comes.
            seconds = retry_after(delay, self._clock())
            detail = f"IMS answered {status} and asked for a pause."
            return ImsUnavailableError(detail, seconds, throttled=True, debug_id=debug_id)
        detail = f"IMS answered {status}."
        hint = grant.credential.hints.internal_error
        if status == 500 and hint and await _is_internal_error(response):
            detail = f"IMS answered 500 internal_error. {hint}"
        return ImsUnavailableError(detail, DEFAULT_DELAY, debug_id=debug_id)


def _outcome_of(error: BaseException) -> str:
    return error.code if isinstance(error, BrokerError) else "internal_error"


async def _is_internal_error(response: httpx2.Response) -> bool:
    try:
        payload = await read_json(response)
    except BadUpstreamResponseError:
        return False
    return isinstance(payload, Mapping) and payload.get("error") == "internal_error"
