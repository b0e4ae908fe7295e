"""A request to a pinned URL of an issuer, with the CA and the token from files that Kubernetes rotates."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx2

from app.adapters.jwt_verifier.issuer_error import IssuerError
from app.egress import (
    HEAD_BYTES,
    BodyError,
    EgressProxy,
    ProxyFailure,
    bounded_body,
    connect_failure,
    outgoing_client,
    outgoing_transport,
)
from app.process.ca_bundle import client_context
from app.process.own_threads import OwnThreads, ThreadsBusyError, ThreadsClosedError
from app.process.regular_file import FileError, read_bytes

_MAX_TOKEN_BYTES = 16 * 1024
_TOKEN = re.compile(rb"[\x21-\x7e]+")
_SECONDS = 5.0
_TIMEOUT = httpx2.Timeout(_SECONDS, connect=2.0)
_LIMITS = httpx2.Limits(max_connections=1, max_keepalive_connections=0)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class IssuerUrl:
    """A URL of an issuer. A token cannot change it, and redirects are not followed.

    Args:
        name: Its name in error messages.
        fields: The prefix of its file fields in the policy, such as ``jwks``.
        url: The URL; https, or http for loopback.
        ca_file: CA bundle, or None for the system's.
        token_file: File with a Bearer token, or None.
        largest: The largest body of an answer, in bytes.
        proxy: The egress proxy, or None to connect directly.

    """

    name: str
    fields: str
    url: str
    ca_file: str | None
    token_file: str | None
    largest: int
    proxy: EgressProxy | None = None

    async def ask(
        self, threads: OwnThreads, method: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> tuple[int, bytes]:
        """HTTP status and body of the answer to one request. The deadline is the caller's.

        Args:
            threads: Run blocking work: reading files and certificates.
            method: HTTP method.
            headers: Request headers, in addition to the token.
            body: Request body.

        Raises:
            IssuerError: A file is unusable, or the answer is not valid.

        """
        # Created each time: the CA and the token are files that Kubernetes rotates.
        context, bearer = await in_thread(threads, lambda: (self._tls(), self._bearer()))
        try:
            async with (
                outgoing_client(self._transport(context), _TIMEOUT) as client,
                client.stream(method, self.url, headers={**headers, **bearer}, content=body) as response,
            ):
                return response.status_code, await bounded_body(response, self.largest)
        except BodyError as error:
            raise IssuerError(f"the answer of {self.name} cannot be used: {error}") from None
        except ProxyFailure as error:
            raise IssuerError(f"{self.name} cannot be reached: {str(error).rstrip('.')}") from None
        except httpx2.ConnectError as error:
            raise IssuerError(f"{self.name} cannot be reached: {connect_failure(error).value}") from None
        except httpx2.TimeoutException:
            raise IssuerError(f"{self.name} does not answer in time") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, ssl.SSLError, OSError):
            raise IssuerError(f"{self.name} cannot be reached") from None

    def _transport(self, context: ssl.SSLContext) -> httpx2.AsyncBaseTransport:
        return outgoing_transport(context, _LIMITS, self.proxy, HEAD_BYTES + self.largest)

    def _bearer(self) -> dict[str, str]:
        if self.token_file is None:
            return {}
        what = f"{self.fields}_token_file"
        token = read_file(Path(self.token_file), _MAX_TOKEN_BYTES, what).strip()
        if _TOKEN.fullmatch(token) is None:
            raise IssuerError(f"{what} does not contain exactly one token")
        return {"Authorization": f"Bearer {token.decode()}"}

    def _tls(self) -> ssl.SSLContext:
        if self.url.lower().startswith("http:"):
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # Not used: it trusts no CA, and is cheap to create.
        try:
            return client_context(None if self.ca_file is None else Path(self.ca_file))
        except FileError as error:
            raise IssuerError(f"{self.fields}_ca_file {error.reason}") from None


def read_file(path: Path, limit: int, what: str) -> bytes:
    """Read a regular file of at most `limit` bytes; blocks.

    Raises:
        IssuerError: It cannot be read, or is not a regular file; `what` names it.

    """
    try:
        return read_bytes(path, limit)
    except FileError as error:
        raise IssuerError(f"{what} {error.reason}") from None


async def in_thread(threads: OwnThreads, work: Callable[[], _T]) -> _T:
    """The result of `work`, or its error. The deadline is the caller's.

    Raises:
        IssuerError: Too much work for the same issuer is waiting, for instance because its files hang.

    """
    try:
        return await threads.run(work)
    except (ThreadsBusyError, ThreadsClosedError):
        raise IssuerError("its files cannot be read in time") from None
