"""Renders a token as an answer: a JSON body, the headers of an Adobe API call, or the form of RFC 6749.

The warm path and the long path use the same renderers, so they cannot differ.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.responses import Response

from app.domain.access_token import AccessToken
from app.domain.rfc3339 import rfc3339

TOKEN_HEADERS = {"cache-control": "no-store", "pragma": "no-cache"}
"""RFC 6749 section 5.1: required on every answer with a token."""

_JSON_HEADERS = (
    *((name.encode(), value.encode()) for name, value in TOKEN_HEADERS.items()),
    (b"content-type", b"application/json"),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """A status 200, rendered.

    Args:
        headers: All response headers except the request id.
        body: The whole body.

    """

    headers: list[tuple[bytes, bytes]] = field(repr=False)
    body: bytes = field(repr=False)

    def response(self) -> Response:
        """The answer as the framework's response."""
        response = Response(self.body)
        response.raw_headers = list(self.headers)
        return response


def token_answer(token: AccessToken) -> Callable[[int], Answer]:
    """``GET /token``'s answer as a function of the whole seconds left."""
    return _json_answer(
        {"access_token": token.value, "token_type": "Bearer"},
        {
            "expires_at": rfc3339(token.expires_at),
            "org_id": token.key.ref.org,
            "client_id": token.client_id,
            "credential": token.key.ref.name,
            "scope": " ".join(token.scopes),
            "generation": token.generation,
        },
    )


def oauth2_answer(token: AccessToken) -> Callable[[int], Answer]:
    """The answer of RFC 6749 section 5.1 as a function of the whole seconds left.

    Without ``expires_at``: several client libraries keep a Unix time under that name and fail on any other form.
    """
    return _json_answer(
        {"access_token": token.value, "token_type": "Bearer"},
        {
            "scope": " ".join(token.scopes),
            "org_id": token.key.ref.org,
            "client_id": token.client_id,
            "credential": token.key.ref.name,
            "generation": token.generation,
        },
    )


def headers_answer(token: AccessToken) -> Callable[[int], Answer]:
    """``/headers``' answer: the headers of an Adobe API call and no body, whatever the seconds left."""
    headers = {**TOKEN_HEADERS, **adobe_headers(token), "content-length": "0"}
    answer = Answer([(name.lower().encode(), value.encode()) for name, value in headers.items()], b"")
    return lambda _seconds_left: answer


def _json_answer(before: dict[str, str], after: dict[str, str]) -> Callable[[int], Answer]:
    """A JSON object in two halves; ``expires_in`` goes between them."""
    head = f'{_compact(before)[:-1]},"expires_in":'.encode()
    tail = f",{_compact(after)[1:]}".encode()

    def answer(seconds_left: int) -> Answer:
        body = b"%b%d%b" % (head, seconds_left, tail)
        return Answer([(b"content-length", b"%d" % len(body)), *_JSON_HEADERS], body)

    return answer


def _compact(document: dict[str, str]) -> str:
    return json.dumps(document, separators=(",", ":"))


def adobe_headers(token: AccessToken) -> dict[str, str]:
    """The headers of an Adobe API call (docs/ims.md section 8)."""
    headers = {
        "Authorization": f"Bearer {token.value}",
        "x-api-key": token.client_id,
        "x-gw-ims-org-id": token.key.ref.org,
    }
    if token.sandbox is not None:
        headers["x-sandbox-name"] = token.sandbox
    return headers
