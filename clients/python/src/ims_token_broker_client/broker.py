"""The brokers that an application may ask, and the tokens that it gets from them."""

from __future__ import annotations

import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from ims_token_broker_client.caller_key import CallerKey
from ims_token_broker_client.endpoint import Endpoint
from ims_token_broker_client.errors import BrokerUnavailableError
from ims_token_broker_client.tokens import TokenRequest, Tokens

T = TypeVar("T")

TIMEOUT = 15.0
"""Seconds. The broker itself answers within this time."""

_AVOIDED = 30.0
"""Seconds for which a broker that did not answer is asked last."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


class Broker:
    """Create one for the process and share it between threads and tasks.

    Args:
        urls: Base URL of the broker, or several of them. They are asked in this order; one that did not answer is
            asked last for half a minute.
        api_key: The application's API key.
        key_file: Instead of `api_key`: a file with an API key or a JWT, such as a projected service-account token.
            It is read for each request to the broker.
        timeout: Seconds that a call may wait for a token, with all attempts at all brokers.
        ca_file: CA bundle for https; default: the system's.

    Raises:
        ValueError: An argument cannot be used. The message does not contain the key.

    """

    def __init__(
        self,
        urls: str | Sequence[str],
        *,
        api_key: str | None = None,
        key_file: str | os.PathLike[str] | None = None,
        timeout: float = TIMEOUT,
        ca_file: str | os.PathLike[str] | None = None,
    ) -> None:
        tls = ssl.create_default_context(cafile=ca_file)
        self._endpoints = [Endpoint(url, tls) for url in ([urls] if isinstance(urls, str) else urls)]
        if not self._endpoints or timeout <= 0:
            raise ValueError("Give at least one URL, and a timeout above 0.")
        self._key = CallerKey(api_key, key_file)
        self.timeout = timeout
        self._avoided: dict[str, float] = {}
        self._tokens: dict[TokenRequest, Tokens] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        """The URLs, and where the key is."""
        return f"Broker({[endpoint.url for endpoint in self._endpoints]}, {self._key})"

    def tokens(
        self,
        org: str,
        *,
        credential: str = "default",
        scope: str | None = None,
        sandbox_name: str | None = None,
        leeway: float = 60.0,
        max_age: float = 300.0,
    ) -> Tokens:
        """The tokens of an org: the same object for the same arguments, so that its users share one token.

        Args:
            org: The IMS org id.
            credential: Name of the org's credential.
            scope: A subset of the scopes, separated by spaces.
            sandbox_name: For ``x-sandbox-name``; default: what the broker has for this credential; "" for none.
            leeway: Seconds before its end from which a token is replaced.
            max_age: Seconds after which the broker is asked whether the token is still the current one, so that a
                purge reaches the application. The request that notices does not wait for it.

        """
        request = TokenRequest(org, credential, scope, sandbox_name, leeway, max_age)
        with self._lock:
            return self._tokens.setdefault(request, Tokens(self, request))

    def ask(self, question: Callable[[Endpoint, str, float], T]) -> T:
        """Ask one broker after the other, in rounds, until one answers or `timeout` is over.

        Args:
            question: Gets a broker, the caller's key and the seconds it may take.

        Raises:
            BrokerUnavailableError: None gave a usable answer.
            TokenRefusedError: One refused.

        """
        ends, pause = time.monotonic() + self.timeout, _FIRST_PAUSE
        while True:
            failure = BrokerUnavailableError("No broker answered in time.")
            for seconds, endpoint in self._round(ends):
                try:
                    answer = question(endpoint, self._key.read(), seconds)
                except BrokerUnavailableError as error:
                    failure = error
                    self._avoided[endpoint.url] = time.monotonic() + _AVOIDED
                else:
                    self._avoided.pop(endpoint.url, None)
                    return answer
            wait = max(pause, failure.retry_after or 0.0)
            if not failure.retryable or time.monotonic() + wait >= ends:
                raise failure
            time.sleep(wait)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _round(self, ends: float) -> Iterator[tuple[float, Endpoint]]:
        """Each broker once, with its share of the seconds that are left."""
        now = time.monotonic()
        ordered = sorted(self._endpoints, key=lambda endpoint: self._avoided.get(endpoint.url, 0.0) > now)
        for number, endpoint in enumerate(ordered):
            left = ends - time.monotonic()
            if left > 0:
                yield left / (len(ordered) - number), endpoint
