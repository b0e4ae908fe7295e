"""hvac without its surprises.

hvac's `Client` is not used: it reads ``VAULT_*`` variables and the token file even if arguments are given. Its API
classes take an adapter. This one never follows a redirect (hvac would send the token along), never reads the
environment, and never raises an exception that holds a response.
"""

from __future__ import annotations

import math
import re
from typing import Any
from urllib.parse import urlsplit

import requests
from hvac.adapters import JSONAdapter
from requests.adapters import HTTPAdapter
from typing_extensions import override
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from app.adapters.vault.client_tls import ClientTls
from app.adapters.vault.config import VaultConfig
from app.adapters.vault.threads import further_headers, note_connection
from app.adapters.vault.vault_problem import VaultProblem, VaultProblemError, refused
from app.domain.dependency_errors import CredentialStoreError
from app.process.regular_file import FileError

MAX_VAULT_ANSWER_BYTES = 16 * 1024 * 1024
"""A listing of 100,000 orgs has a quarter of it."""

_PIECE_BYTES = 64 * 1024

_CERTIFICATE_ALERT = re.compile(r"ALERT_[A-Z_]*(CERTIFICATE|UNKNOWN_CA|HANDSHAKE_FAILURE|ACCESS_DENIED|DECRYPT_ERROR)")
"""What OpenSSL calls the alerts of a server that refuses the client's certificate, or has got none."""


class VaultAdapter(JSONAdapter):
    """One Vault with one token, which never changes: a new login makes a new adapter."""

    @override
    def request(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        """Send a request; the answer's JSON object, empty for 204.

        Raises:
            VaultProblemError: The request fails.
            CredentialStoreError: The CA bundle or the client certificate cannot be used.

        """
        answer = self._send(args, kwargs)
        # Raised here, outside the handler, so that no exception with a request is chained to this one.
        if isinstance(answer, FileError):
            raise CredentialStoreError(f"BROKER_VAULT_CACERT {answer.reason}.")
        if isinstance(answer, VaultProblem):
            raise VaultProblemError(answer)
        if isinstance(answer, requests.Response):
            raise VaultProblemError(refused(answer.status_code, _errors(answer)), _retry_after(answer))
        return answer

    def _send(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> dict[Any, Any] | requests.Response | VaultProblem | FileError:
        """The answer's JSON object, an answer that is not a success, or why there is none."""
        kwargs["raise_exception"] = False
        kwargs["headers"] = {**(kwargs.get("headers") or {}), **further_headers()}
        try:
            # The type in hvac is narrower, but a JSON body can be any value.
            answer: object = super().request(*args, **kwargs)
            if isinstance(answer, dict):
                return answer
            if not isinstance(answer, requests.Response):
                return VaultProblem.UNEXPECTED_RESPONSE
            if answer.status_code == requests.codes.no_content:
                return {}
            return answer
        except (FileError, requests.exceptions.RequestException, ValueError, RecursionError) as error:
            _without_traceback(error)
            return error if isinstance(error, FileError) else _problem_of(error)


def _problem_of(error: Exception) -> VaultProblem:
    match error:
        case requests.exceptions.SSLError():
            alert = _CERTIFICATE_ALERT.search(str(error))
            return VaultProblem.UNTRUSTED if alert is None else VaultProblem.CLIENT_CERTIFICATE
        case requests.exceptions.Timeout():
            return VaultProblem.SLOW
        case requests.exceptions.ConnectionError() | requests.exceptions.ChunkedEncodingError():
            return VaultProblem.UNREACHABLE
        case _:
            return VaultProblem.UNEXPECTED_RESPONSE


def _without_traceback(error: BaseException) -> None:
    """Break the cycles of a failed call: urllib3 keeps its error in frames that the error's traceback refers to."""
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__context__


def connect(config: VaultConfig, token: str | None = None) -> VaultAdapter:
    """An adapter for `config` that sends `token`, or none."""
    session = requests.Session()
    session.trust_env = False
    # Calls are rare, and idle connections may be closed without notice: a new connection costs less than an error.
    session.headers["Connection"] = "close"
    for scheme in ("http://", "https://"):
        session.mount(scheme, _WatchedTransport(config.tls))
    return VaultAdapter(
        base_uri=config.addr,
        token=token,
        timeout=math.ceil(config.deadline),
        allow_redirects=False,
        session=session,
        namespace=config.namespace,
    )


def _errors(response: requests.Response) -> object:
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return None
    return body.get("errors") if isinstance(body, dict) else None


def _retry_after(response: requests.Response) -> float | None:
    """Seconds of ``Retry-After``; None without one, and for a date, which Vault does not send."""
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 10 else None


class _WatchedHttp(HTTPConnection):
    @override
    def connect(self) -> None:
        super().connect()
        note_connection(self.sock)


class _WatchedHttps(HTTPSConnection):
    @override
    def connect(self) -> None:
        super().connect()
        note_connection(self.sock)


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _WatchedHttp


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedHttps


class _WatchedTransport(HTTPAdapter):
    """Gives each call its socket, because hvac's timeout is per socket operation and not for the whole call.

    Each connection trusts the current CA bundle; by default requests trusts the CAs of certifi.

    Args:
        tls: Makes the TLS contexts.

    """

    def __init__(self, tls: ClientTls) -> None:
        super().__init__()
        self._tls = tls

    @override
    def send(self, request: Any, *_args: Any, **kwargs: Any) -> requests.Response:
        """As requests does it, but read no more than `MAX_VAULT_ANSWER_BYTES`, also of a compressed answer."""
        response = super().send(request, **{**kwargs, "stream": True})
        content = bytearray()
        for piece in response.iter_content(_PIECE_BYTES):
            content += piece
            if len(content) > MAX_VAULT_ANSWER_BYTES:
                response.close()
                raise requests.exceptions.ContentDecodingError
        response._content = bytes(content)  # noqa: SLF001  # as `Response.content` keeps it
        return response

    @override
    def get_connection_with_tls_context(self, request: Any, *_args: Any, **_kwargs: Any) -> HTTPConnectionPool:
        url = urlsplit(request.url)
        tls = {"ssl_context": self._tls.context()} if url.scheme == "https" else {}
        return self.poolmanager.connection_from_host(url.hostname, url.port, url.scheme, pool_kwargs=tls)

    @override
    def cert_verify(self, *_args: Any, **_kwargs: Any) -> None:
        """Do nothing: the context is complete, and requests would add the CAs of certifi to it."""

    @override
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
