"""The current token of one org: cached, replaced before its end, and replaced when Adobe refuses it."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Protocol, TypeGuard, TypeVar
from urllib.parse import urlencode

from ims_token_broker_client.endpoint import Endpoint
from ims_token_broker_client.errors import BrokerUnavailableError, TokenError, TokenRefusedError
from ims_token_broker_client.flights import Flights
from ims_token_broker_client.token import AdobeToken, sha256_of

T = TypeVar("T")

_PATIENCE = 1.0
"""Seconds that a request with a usable token waits for a better one."""

_SHORTEST_PAUSE, _LONGEST_PAUSE = 1.0, 5.0
"""Seconds between two failed attempts."""

_REPORT_PAUSE = 10.0
"""Seconds after which a token is reported again that the broker did not replace."""

_VISIBLE = re.compile(r"[!-~]+")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TokenRequest:
    """Which token, and how it is kept; see `Broker.tokens`."""

    org: str
    credential: str
    scope: str | None
    sandbox_name: str | None
    leeway: float
    max_age: float

    def query(self) -> str:
        """The broker's parameters."""
        query = {"org": self.org, "credential": self.credential}
        return urlencode(query if self.scope is None else {**query, "scope": self.scope})


@dataclass(frozen=True)
class _Waiting:
    """What to wait for, for how many seconds, and the token to use if it does not come."""

    future: Future[AdobeToken]
    seconds: float
    held: AdobeToken | None


class Asks(Protocol):
    """What asks brokers; see `Broker.ask`."""

    timeout: float

    def ask(self, question: Callable[[Endpoint, str, float], T]) -> T:
        """Ask until one answers."""
        ...


class Tokens:
    """Get it from `Broker.tokens`. It is for any number of threads and asyncio tasks at once.

    Args:
        broker: Whom to ask.
        request: Which token.

    """

    def __init__(self, broker: Asks, request: TokenRequest) -> None:
        self._broker, self._request = broker, request
        # Longer than an attempt may take, so that it is normally the attempt that ends the waiting.
        self._wait = broker.timeout + 1.0
        self._flights: Flights[AdobeToken] = Flights(self._wait)
        self._held: AdobeToken | None = None
        self._failure: TokenError | None = None
        self._paused_until = 0.0
        self._reported: tuple[str, float] = ("", 0.0)

    def __repr__(self) -> str:
        """The org and the credential."""
        return f"Tokens({self._request.org}, {self._request.credential})"

    def get(self) -> AdobeToken:
        """A token that has not expired.

        Raises:
            BrokerUnavailableError: There is none, and no broker answers in time.
            TokenRefusedError: The broker refuses.

        """
        asked = self._asked()
        if isinstance(asked, AdobeToken):
            return asked
        try:
            return asked.future.result(asked.seconds)
        except (TimeoutError, BrokerUnavailableError) as error:
            return _instead(asked.held, error)

    async def get_async(self) -> AdobeToken:
        """`get`, for asyncio."""
        asked = self._asked()
        if isinstance(asked, AdobeToken):
            return asked
        try:
            return await asyncio.wait_for(asyncio.wrap_future(asked.future), asked.seconds)
        except (TimeoutError, BrokerUnavailableError) as error:
            return _instead(asked.held, error)

    def replacement(self, refused: str) -> AdobeToken | None:
        """Another token, after Adobe refused this one with 401013; None if there is none at this moment."""
        asked = self._reporting(refused)
        if not isinstance(asked, _Waiting):
            return asked
        try:
            return _other(asked.future.result(asked.seconds), refused)
        except (TimeoutError, TokenError) as error:
            _warn(error)
            return None

    async def replacement_async(self, refused: str) -> AdobeToken | None:
        """`replacement`, for asyncio."""
        asked = self._reporting(refused)
        if not isinstance(asked, _Waiting):
            return asked
        try:
            return _other(await asyncio.wait_for(asyncio.wrap_future(asked.future), asked.seconds), refused)
        except (TimeoutError, TokenError) as error:
            _warn(error)
            return None

    def _asked(self) -> AdobeToken | _Waiting:
        """The token to use, or what to wait for."""
        held = self._held
        if held is None or held.remaining <= 0:
            if self._failure is not None and time.monotonic() < self._paused_until:
                raise self._failure
            return _Waiting(self._flights.join("ask", self._ask)[0], self._wait, None)
        ending = held.remaining <= min(self._request.leeway, held.lifetime / 2)
        if not (ending or held.age > self._request.max_age) or time.monotonic() < self._paused_until:
            return held
        future, started = self._flights.join("ask", self._ask)
        # One request waits a moment for a token that lasts; the others use the one that is there.
        return _Waiting(future, _PATIENCE, held) if ending and started else held

    def _ask(self) -> AdobeToken:
        try:
            token = self._broker.ask(self._fetched)
        except TokenRefusedError as error:
            # Not an outage: the right to this token was taken away.
            self._held = None
            self._pause(error, _SHORTEST_PAUSE)
            raise
        except BrokerUnavailableError as error:
            self._pause(error, min(max(error.retry_after or 0.0, _SHORTEST_PAUSE), _LONGEST_PAUSE))
            log.warning("%s", error)
            raise
        return self._kept(token)

    def _pause(self, failure: TokenError, seconds: float) -> None:
        self._failure, self._paused_until = failure, time.monotonic() + seconds

    def _kept(self, token: AdobeToken) -> AdobeToken:
        """Keep a token, unless it is one that Adobe refused and there is another."""
        held = self._held
        if held is not None and token.sha256 == self._reported[0] != held.sha256 and held.remaining > 0:
            return held
        self._held, self._failure = token, None
        return token

    def _reporting(self, refused: str) -> AdobeToken | _Waiting | None:
        """The other token that is held, or the report to wait for; None if one just brought the same token."""
        held = self._held
        if held is not None and held.value != refused and held.remaining > 0:
            return held
        sha256 = sha256_of(refused)
        if self._reported[0] == sha256 and time.monotonic() < self._reported[1]:
            return None
        return _Waiting(self._flights.join(f"report {sha256}", lambda: self._report(sha256))[0], self._wait, None)

    def _report(self, sha256: str) -> AdobeToken:
        body = json.dumps({"token_sha256": sha256}).encode()
        target = f"/token/report?{self._request.query()}"
        self._reported, pause = (sha256, 0.0), _SHORTEST_PAUSE
        try:
            token = self._broker.ask(
                lambda endpoint, key, seconds: self._token(endpoint, key, seconds, ("POST", target, body))
            )
            pause = _REPORT_PAUSE
        finally:
            self._reported = (sha256, time.monotonic() + pause)
        return self._kept(token)

    def _fetched(self, endpoint: Endpoint, key: str, seconds: float) -> AdobeToken:
        return self._token(endpoint, key, seconds, ("GET", f"/token?{self._request.query()}", None))

    def _token(
        self, endpoint: Endpoint, key: str, seconds: float, request: tuple[str, str, bytes | None]
    ) -> AdobeToken:
        ends = time.monotonic() + seconds
        method, target, body = request
        document = endpoint.send(method, target, key, seconds, body).document
        value, left = document.get("access_token"), document.get("expires_in")
        client_id, org_id, scope = (document.get(name) for name in ("client_id", "org_id", "scope"))
        if not (_sendable(value) and _sendable(client_id) and isinstance(left, int) and isinstance(scope, str)):
            raise BrokerUnavailableError(f"{endpoint.url} did not answer as a broker does; check the URL.")
        if org_id != self._request.org:
            raise BrokerUnavailableError(f"{endpoint.url} answered with a token of another org.")
        named = AdobeToken(value, client_id, self._request.org, scope, self._request.sandbox_name or None, float(left))
        held = self._held
        if self._request.sandbox_name is not None:
            return named
        if held is not None and held.value == value:
            return replace(named, sandbox_name=held.sandbox_name)
        # Only this endpoint says which sandbox the operator has stored for the credential.
        seconds = max(0.001, ends - time.monotonic())
        answer = endpoint.send("GET", f"/headers?{self._request.query()}", key, seconds)
        return replace(named, sandbox_name=answer.headers.get("x-sandbox-name"))


def _sendable(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and _VISIBLE.fullmatch(value) is not None


def _instead(held: AdobeToken | None, error: TimeoutError | BrokerUnavailableError) -> AdobeToken:
    """The token that is held, as long as it is valid."""
    if held is not None and held.remaining > 0:
        return held
    if isinstance(error, BrokerUnavailableError):
        raise error
    raise BrokerUnavailableError("No broker answered in time.") from None


def _other(token: AdobeToken, refused: str) -> AdobeToken | None:
    return None if token.value == refused else token


def _warn(error: TimeoutError | TokenError) -> None:
    found = error if isinstance(error, TokenError) else "no broker answered in time."
    log.warning("A token that Adobe refused was not replaced: %s", found)
