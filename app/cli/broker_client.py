"""The command line as a client of a running broker."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from app.cli.failure import USAGE, CommandError
from app.cli.printable import printable
from app.domain.errors import ForbiddenError, UnauthenticatedError
from app.domain.policy import Action
from app.process.ca_bundle import client_context
from app.process.regular_file import FileError

if TYPE_CHECKING:
    import httpx2

API_KEY_VARIABLE = "ITB_API_KEY"
URLS_VARIABLE = "ITB_URLS"
"""The brokers of all regions, separated by commas."""

TIMEOUT = 20.0
"""Seconds. The broker itself answers within 15."""

MAX_ANSWER_BYTES = 64 * 1024
MAX_KEY_BYTES = 16 * 1024

_VISIBLE = re.compile(r"[!-~]+")
_SECONDS = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class _Reply:
    """The answer to one request.

    Args:
        status: The HTTP status.
        request_id: The ``X-Request-Id`` header; empty if absent.
        retry_after: The ``Retry-After`` header, in seconds; empty if absent.
        body: The body.

    """

    status: int
    request_id: str
    retry_after: str
    body: bytes = field(repr=False)


def read_api_key(file: Path | None) -> str:
    """The caller's own credential, from `file` or else from the environment: an API key or a JWT.

    Raises:
        CommandError: There is no credential, or it cannot be read or sent in a header.

    """
    if file is None:
        # This variable belongs to the client; it is not one of the broker's settings.
        text, place = os.environ.get(API_KEY_VARIABLE, ""), API_KEY_VARIABLE  # noqa: TID251  # see above
    else:
        text, place = _content(file), str(file)
    key = text.strip()
    if not key and file is None:
        raise CommandError(f"No API key: set {API_KEY_VARIABLE} or give --api-key-file FILE.", USAGE)
    if _VISIBLE.fullmatch(key) is None or len(key) > MAX_KEY_BYTES:
        raise CommandError(f"{place} does not hold an API key.", USAGE)
    return key


def urls_of_all_regions() -> tuple[str, ...]:
    """The URLs in ITB_URLS, each once."""
    # This variable belongs to the client; it is not one of the broker's settings.
    listed = os.environ.get(URLS_VARIABLE, "")  # noqa: TID251  # see above
    return tuple(dict.fromkeys(url.strip() for url in listed.split(",") if url.strip()))


def _content(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(MAX_KEY_BYTES + 1).decode("ascii", errors="replace")
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.", USAGE) from None


class BrokerClient:
    """A broker at a URL.

    Args:
        url: Its base URL.
        api_key: The caller's credential.
        ca_file: CA bundle for https instead of the system's.

    Raises:
        CommandError: The URL or the CA bundle cannot be used.

    """

    def __init__(self, url: str, api_key: str, ca_file: Path | None = None) -> None:
        self._base_url = _base_url(url)
        self._api_key = api_key
        try:
            self._tls = client_context(ca_file)
        except FileError as error:
            raise CommandError(f"--ca-file: {error}.", USAGE) from None

    def token(self, query: Mapping[str, str]) -> Mapping[str, object]:
        """Get the response of ``GET /token``, which has an ``access_token``.

        Raises:
            CommandError: The broker cannot be reached, refuses the request, or sends an invalid response.

        """
        answer = self._answer("/token", query, Action.VEND)
        token = answer.get("access_token")
        if not isinstance(token, str) or _VISIBLE.fullmatch(token) is None:
            raise CommandError(f"The server at {self._base_url} is not a broker: its response has no access_token.")
        return answer

    def orgs(self) -> Iterator[Mapping[str, object]]:
        """Each credential of ``GET /orgs``, page by page.

        Raises:
            CommandError: As `token`.

        """
        query: dict[str, str] = {}
        while True:
            answer = self._answer("/orgs", query, Action.STATUS)
            orgs, following = answer.get("orgs"), answer.get("next")
            if not isinstance(orgs, list) or not all(isinstance(org, dict) for org in orgs):
                raise CommandError(f"The server at {self._base_url} is not a broker: its response has no orgs.")
            yield from orgs
            if not isinstance(following, str) or not orgs:
                return
            query = {"after": following}

    def purge(self, org: str, credential: str) -> None:
        """Let the broker forget all tokens of a credential (``DELETE /token``).

        Raises:
            CommandError: As `token`.

        """
        self._answer("/token", {"org": org, "credential": credential}, Action.PURGE, "DELETE", 204)

    def token_status(self, query: Mapping[str, str]) -> int:
        """Get the status of ``GET /token``, and drop the token.

        Raises:
            CommandError: The broker cannot be reached.

        """
        return self._exchanged("/token", query).status

    def _answer(
        self, path: str, query: Mapping[str, str], action: Action, method: str = "GET", expected: int = 200
    ) -> Mapping[str, object]:
        reply = self._exchanged(path, query, method)
        answer = _document(reply.body)
        if reply.status != expected:
            raise CommandError(_refusal(reply, answer, action))
        return answer

    def _exchanged(self, path: str, query: Mapping[str, str], method: str = "GET") -> _Reply:
        import httpx2

        try:
            return asyncio.run(self._send(method, f"{self._base_url}{path}", query))
        except (TimeoutError, httpx2.TimeoutException):
            raise CommandError(f"The broker at {self._base_url} does not answer in time.") from None
        except httpx2.HTTPError as error:
            raise CommandError(f"The broker at {self._base_url} cannot be reached: {_reason(error)}.") from None

    async def _send(self, method: str, url: str, query: Mapping[str, str]) -> _Reply:
        """The answer to one request; a body that is too long to be valid is cut off."""
        import httpx2

        headers = {"Authorization": f"Bearer {self._api_key}", "Accept": "application/json"}
        body = bytearray()
        # Do not use a proxy from the environment: it would receive the API key.
        async with (
            asyncio.timeout(TIMEOUT),
            httpx2.AsyncClient(verify=self._tls, trust_env=False, timeout=TIMEOUT) as client,
            client.stream(method, url, params=dict(query), headers=headers) as response,
        ):
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > MAX_ANSWER_BYTES:
                    break
            return _Reply(
                response.status_code,
                response.headers.get("x-request-id", ""),
                response.headers.get("retry-after", ""),
                bytes(body),
            )


def _base_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
        parts = urlsplit("")
    if not usable or parts.username or parts.password or parts.query or parts.fragment:
        raise CommandError("--url must be like http://127.0.0.1:8080, without user, query or fragment.", USAGE)
    return text.rstrip("/")


def _reason(error: httpx2.HTTPError) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return "its TLS certificate is not trusted, or the TLS handshake failed"
        if isinstance(cause, socket.gaierror):
            return "its host name cannot be resolved"
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno).lower()
        cause = cause.__cause__ or cause.__context__
    return "the connection failed"


def _document(body: bytes) -> Mapping[str, object]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    return document if isinstance(document, dict) else {}


def _refusal(reply: _Reply, problem: Mapping[str, object], action: Action) -> str:
    detail = problem.get("detail")
    if not isinstance(detail, str):
        detail = "The server there is not a broker; check --url."
    if problem.get("code") == UnauthenticatedError.code:
        # The broker's own sentence is for the author of a client.
        detail = f"The broker does not accept this API key or JWT: check {API_KEY_VARIABLE} or --api-key-file."
    request_id = problem.get("request_id") or reply.request_id or "unknown"
    known_as = f"{problem.get('code') or 'error'}, request id {request_id}"
    said = f"{printable(detail, 500)}{_next_step(reply, problem, action)}"
    return f"{said} ({reply.status} {printable(known_as, 200)})"


def _next_step(reply: _Reply, problem: Mapping[str, object], action: Action) -> str:
    """What the detail, which is the same for every client, leaves out; it begins with a space unless it is empty."""
    if problem.get("code") == ForbiddenError.code:
        return f" This command needs a rule with the action {action}."
    if problem.get("retryable") is True and _SECONDS.fullmatch(reply.retry_after):
        return f" Try again in {int(reply.retry_after)} s."
    return ""
