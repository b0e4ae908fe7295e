"""One broker at a URL: sends a request with a bound on its duration and on the size of its answer."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ims_token_broker_client.errors import BrokerUnavailableError, TokenRefusedError

MAX_ANSWER_BYTES = 64 * 1024

CONNECT_SECONDS = 3.0
"""For a connection. A host that is gone answers nothing, and the next broker should still be asked in good time."""

_REFUSALS = frozenset({400, 401, 403, 404})
_UNPRINTABLE = re.compile(r"[^ -~]+")
_MAX_SHOWN = 200


@dataclass(frozen=True)
class Answer:
    """A status 200.

    Args:
        headers: With names in lower case.
        document: The JSON object in the body; empty if the body is anything else.

    """

    headers: Mapping[str, str] = field(repr=False)
    document: Mapping[str, object] = field(repr=False)


class Endpoint:
    """A broker. Each request has a connection of its own: requests are rare, and a broker may have restarted.

    Args:
        url: Its base URL. No proxy is used, because it would receive the API key.
        tls: Trusted certificates for https.

    Raises:
        ValueError: The URL cannot be used.

    """

    def __init__(self, url: str, tls: ssl.SSLContext) -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValueError("A broker's URL must be like https://broker.example:8443.") from None
        extra = parts.username or parts.password or parts.query or parts.fragment
        if parts.scheme not in {"http", "https"} or not host or port == 0 or extra:
            raise ValueError("A broker's URL must be like https://broker.example:8443, without user or query.")
        self.url = url.rstrip("/")
        self._host, self._port, self._path = host, port, parts.path.rstrip("/")
        self._tls = tls if parts.scheme == "https" else None

    def __repr__(self) -> str:
        """Its URL."""
        return f"Endpoint({self.url})"

    def send(self, method: str, target: str, key: str, seconds: float, body: bytes | None = None) -> Answer:
        """Send a request and wait for its answer.

        Args:
            method: The method.
            target: Path and query.
            key: The caller's credential.
            seconds: How long everything may take.
            body: A JSON document.

        Raises:
            BrokerUnavailableError: There is no usable answer.
            TokenRefusedError: The broker refused.

        """
        headers = {"Authorization": f"Bearer {key}", "Accept": "application/json", "Connection": "close"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        ends = time.monotonic() + seconds
        try:
            with self._connected(seconds) as connection:
                connection.request(method, self._path + target, body, headers)
                response = connection.getresponse()
                content = response.read(MAX_ANSWER_BYTES + 1)
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = "did not answer in time" if time.monotonic() >= ends else _reason(error)
            raise BrokerUnavailableError(f"The broker at {self.url} {reason}.") from None
        received = {name.lower(): value for name, value in response.getheaders()}
        document = _document(content)
        if not document and time.monotonic() >= ends:  # cut off by the watch, which looks like an end of the answer
            raise BrokerUnavailableError(f"The broker at {self.url} did not answer in time.")
        if response.status != 200:
            raise self._refusal(response.status, received, document)
        return Answer(received, document)

    @contextlib.contextmanager
    def _connected(self, seconds: float) -> Iterator[http.client.HTTPConnection]:
        ends = time.monotonic() + seconds
        connection = self._connection(min(seconds, CONNECT_SECONDS))
        watch: threading.Timer | None = None
        try:
            connection.connect()
            connection.sock.settimeout(seconds)
            # The time-out of a socket is for each operation; this one is for all of them.
            watch = threading.Timer(max(0.0, ends - time.monotonic()), _shut, [connection.sock])
            watch.daemon = True
            watch.start()
            yield connection
        finally:
            if watch is not None:
                watch.cancel()
            connection.close()

    def _connection(self, seconds: float) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=seconds)
        return http.client.HTTPSConnection(self._host, self._port, timeout=seconds, context=self._tls)

    def _refusal(
        self, status: int, headers: Mapping[str, str], problem: Mapping[str, object]
    ) -> BrokerUnavailableError | TokenRefusedError:
        code = problem.get("code")
        if not isinstance(code, str):
            return BrokerUnavailableError(f"{self.url} answered {status}, but not as a broker does; check the URL.")
        request_id = _plain(headers.get("x-request-id", "unknown"))
        message = f"The broker at {self.url} answered {status} {_plain(code)} (request id {request_id})."
        if status in _REFUSALS:
            return TokenRefusedError(message, status=status, code=_plain(code), request_id=request_id)
        return BrokerUnavailableError(
            message, retry_after=_seconds(headers.get("retry-after")), retryable=problem.get("retryable") is not False
        )


def _shut(connected: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)


def _document(content: bytes) -> Mapping[str, object]:
    try:
        document = json.loads(content) if len(content) <= MAX_ANSWER_BYTES else None
    except (ValueError, RecursionError):
        document = None
    return document if isinstance(document, dict) else {}


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 6 else None


def _plain(text: str) -> str:
    """`text` without control characters: the server at that URL may be anything."""
    return _UNPRINTABLE.sub(" ", text)[:_MAX_SHOWN]


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "did not answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return "has a certificate that is not trusted for its name"
    if isinstance(error, socket.gaierror):
        return "cannot be reached: its host name cannot be resolved"
    if isinstance(error, ConnectionRefusedError):
        return "refused the connection"
    return "cannot be reached: the connection failed"
