"""Sends the requests of the AWS SDK in place of its own HTTP client.

That one reads proxies and CA bundles from the environment, keeps connections that a firewall may drop in silence, and
reads answers of any size.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from typing import Protocol
from urllib.parse import urlsplit

import urllib3
from botocore.awsrequest import AWSResponse

from app.adapters.aws_kms.kms_answers import NOT_KMS, SLOW
from app.domain.dependency_errors import CredentialStoreError
from app.egress import EgressProxy, ProxyPasswordError, connect_failure, proxy_refusal, proxy_unusable
from app.process.ca_bundle import client_context

CONNECT_SECONDS = 2.0
READ_SECONDS = 3.0
"""For one read of a socket."""

MAX_AWS_ANSWER_BYTES = 64 * 1024
_PIECE = 16 * 1024
_UNREACHABLE = {"kms": "AWS KMS cannot be reached", "sts": "AWS STS cannot be reached"}
_TUNNEL_REFUSED = re.compile(r"Tunnel connection failed: ([0-9]{3})\b")


class SdkRequest(Protocol):
    """A signed request of the SDK (`botocore.awsrequest.AWSPreparedRequest`)."""

    method: str
    url: str
    headers: Mapping[str, str | bytes]
    body: bytes | str | None


class AwsTransport:
    """Sends each request over a connection of its own, directly or through the egress proxy. Blocks.

    Args:
        proxy: The egress proxy, or None.
        seconds: How long reading one answer may take.

    """

    def __init__(self, proxy: EgressProxy | None, seconds: float) -> None:
        self._proxy = proxy
        self._seconds = seconds
        self._tls: ssl.SSLContext | None = None

    def send(self, request: SdkRequest, event_name: str, **_: object) -> AWSResponse:
        """Send `request`; a handler of the SDK's event ``before-send``, whose result is the answer.

        Args:
            request: The request to send.
            event_name: ``before-send.<service>.<operation>``.

        Raises:
            CredentialStoreError: There is no answer, or none that can be used.

        """
        failure: CredentialStoreError
        try:
            return self._answer(request)
        except urllib3.exceptions.HTTPError as error:
            failure = _failure(event_name.split(".")[1], error)
        except ProxyPasswordError as error:
            failure = CredentialStoreError(f"{error}, so there is no login for the proxy.")
        # Outside the handler, so that no exception that holds a request is chained to this one.
        raise failure

    def _answer(self, request: SdkRequest) -> AWSResponse:
        until = time.monotonic() + self._seconds
        headers = {name: value if isinstance(value, str) else value.decode() for name, value in request.headers.items()}
        with self._pool(request.url) as pool:
            response = pool.urlopen(
                request.method,
                request.url,
                body=request.body,
                headers={**headers, "Connection": "close"},
                redirect=False,
                preload_content=False,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            )
            content = _content(response, until)
        return AWSResponse(request.url, response.status, response.headers, _Body(content))

    def _pool(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        proxy = self._proxy
        if self._tls is None:
            self._tls = client_context(None)
        # A proxy would see the content of plain HTTP, which is for loopback only.
        if proxy is None or parts.scheme == "http" or proxy.no_proxy.matches(parts.hostname or ""):
            return urllib3.PoolManager(retries=False, ssl_context=self._tls)
        login = proxy.read_login()
        known = None if login is None else urllib3.make_headers(proxy_basic_auth=":".join(login))
        return urllib3.ProxyManager(
            proxy.url, retries=False, ssl_context=self._tls, proxy_ssl_context=self._tls, proxy_headers=known
        )


class _Body:
    """What `AWSResponse` reads an answer from."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        yield self._content


def _content(response: urllib3.BaseHTTPResponse, until: float) -> bytes:
    """The body, within its bounds.

    Raises:
        CredentialStoreError: It is too large, or comes too slowly.

    """
    body = b""
    while piece := response.read1(_PIECE):
        body += piece
        if len(body) > MAX_AWS_ANSWER_BYTES or time.monotonic() > until:
            raise CredentialStoreError(NOT_KMS)
    return body


def _failure(service: str, error: urllib3.exceptions.HTTPError) -> CredentialStoreError:
    """Why there is no answer of a service of AWS."""
    refused = next(filter(None, (_TUNNEL_REFUSED.search(str(cause)) for cause in _causes(error))), None)
    if refused is not None:
        return CredentialStoreError(proxy_refusal(refused[1]))
    if isinstance(error, urllib3.exceptions.ProxyError):
        return CredentialStoreError(proxy_unusable(connect_failure(error).value))
    if isinstance(error, urllib3.exceptions.ReadTimeoutError):
        return CredentialStoreError(SLOW)
    if any(isinstance(cause, HTTPException) and not isinstance(cause, OSError) for cause in _causes(error)):
        return CredentialStoreError(NOT_KMS)
    unreachable = _UNREACHABLE.get(service, "The AWS service of the broker's login cannot be reached")
    return CredentialStoreError(f"{unreachable}: {connect_failure(error).value}.")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
