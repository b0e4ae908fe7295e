"""Renders a token as an answer: a JSON body, the headers of an Adobe API call, or the form of RFC 6749.

The warm path and the long path use the same renderers, so they cannot differ.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from starlette.responses import Response

from app.domain.access_token import AccessToken
from app.domain.rfc3339 import rfc3339

TOKEN_HEADERS = {"cache-control": "no-store", "pragma": "no-cache"}
"""RFC 6749 section 5.1: required on every answer with a token."""

_JSON_HEADERS = (
    *((name.encode(), value.encode()) for name, value in TOKEN_HEADERS.items()),
    (b"content-type", b"application/json"),
)

_KNOWN_LENGTHS = 1024
"""Lengths of bodies for which the headers are kept: tokens of one kind have few."""


@dataclass(frozen=True, slots=True)
class ResponseHeaders:
    """The headers of an answer except the request id; many answers share them.

    Args:
        fields: Names in lower case, and values.

    """

    fields: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    lines: bytes = field(init=False, repr=False)
    """The headers as they are on the wire."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "lines", b"".join(b"%b: %b\r\n" % header for header in self.fields))


class Answer:
    """An answer, rendered. It has no `repr` of its own, because there may be a token in it.

    Args:
        headers: All response headers except the request id.
        body: The whole body.
        status: The HTTP status.

    """

    __slots__ = ("body", "headers", "lines", "status")

    def __init__(self, headers: ResponseHeaders, body: bytes, status: int = 200) -> None:
        self.status = status
        self.headers = headers.fields
        self.lines = headers.lines
        self.body = body

    def response(self) -> Response:
        """The answer as the framework's response."""
        response = Response(self.body, self.status)
        response.raw_headers = list(self.headers)
        return response


class AnswerForm(Protocol):
    """How an endpoint answers with a token."""

    def rest(self, token: AccessToken) -> str:
        """What can be rendered once for a token. The token itself is not in it, so it may outlive the token."""
        ...

    def answer(self, token: AccessToken, seconds_left: int, rest: str | None = None) -> Answer:
        """The answer.

        Args:
            token: The token.
            seconds_left: Whole seconds.
            rest: What `rest` returned for this token, or None.

        """
        ...


class JsonForm:
    """A JSON object with the token, the seconds left, and other members.

    Args:
        members: The other members.

    """

    def __init__(self, members: Callable[[AccessToken], dict[str, str]]) -> None:
        self._members = members

    def rest(self, token: AccessToken) -> str:
        """See `AnswerForm.rest`."""
        return json.dumps(self._members(token), separators=(",", ":"))[1:]

    def answer(self, token: AccessToken, seconds_left: int, rest: str | None = None) -> Answer:
        """See `AnswerForm.answer`."""
        value = f'"{token.value}"' if token.is_plain_in_json else json.dumps(token.value)
        rest = self.rest(token) if rest is None else rest
        body = f'{{"access_token":{value},"token_type":"Bearer","expires_in":{seconds_left},{rest}'.encode()
        return answer_with_json(body)


class HeadersForm:
    """The headers of an Adobe API call and no body, whatever the seconds left."""

    def rest(self, token: AccessToken) -> str:  # noqa: ARG002  # as `AnswerForm`
        """Nothing."""
        return ""

    def answer(self, token: AccessToken, seconds_left: int, rest: str | None = None) -> Answer:  # noqa: ARG002  # as `AnswerForm`
        """See `AnswerForm.answer`."""
        headers = {**TOKEN_HEADERS, **adobe_headers(token), "content-length": "0"}
        return Answer(
            ResponseHeaders(tuple((name.lower().encode(), value.encode()) for name, value in headers.items())), b""
        )


def _token_members(token: AccessToken) -> dict[str, str]:
    return {
        "expires_at": rfc3339(token.expires_at),
        "org_id": token.key.ref.org,
        "client_id": token.client_id,
        "credential": token.key.ref.name,
        "scope": " ".join(token.scopes),
        "generation": token.generation,
    }


def _oauth2_members(token: AccessToken) -> dict[str, str]:
    """Without ``expires_at``: several client libraries keep a Unix time there, and fail on any other form."""
    return {
        "scope": " ".join(token.scopes),
        "org_id": token.key.ref.org,
        "client_id": token.client_id,
        "credential": token.key.ref.name,
        "generation": token.generation,
    }


TOKEN_ANSWER: AnswerForm = JsonForm(_token_members)
"""Of ``GET /token``."""

OAUTH2_ANSWER: AnswerForm = JsonForm(_oauth2_members)
"""Of RFC 6749 section 5.1."""

HEADERS_ANSWER: AnswerForm = HeadersForm()
"""Of ``/headers``."""


def answer_with_json(body: bytes) -> Answer:
    """An answer with this JSON, which has a token in it."""
    return Answer(_json_headers(len(body)), body)


@lru_cache(_KNOWN_LENGTHS)
def _json_headers(length: int) -> ResponseHeaders:
    return ResponseHeaders(((b"content-length", b"%d" % length), *_JSON_HEADERS))


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
