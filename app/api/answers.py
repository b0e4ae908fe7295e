"""How a token is answered: the same fields on every way that leads to one."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from starlette.responses import JSONResponse, Response

from app.domain.access_token import AccessToken

TOKEN_HEADERS = {"cache-control": "no-store", "pragma": "no-cache"}
"""RFC 6749 section 5.1: required on every answer with a token."""


def rfc3339(at: float) -> str:
    """Unix time in seconds as RFC 3339 in UTC, whole seconds, rounded down."""
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def token_template(token: AccessToken) -> tuple[bytes, bytes]:
    """The JSON answer in two halves; the whole seconds left go between them."""
    head = json.dumps({"access_token": token.value, "token_type": "Bearer"}, separators=(",", ":"))[:-1]
    tail = json.dumps(
        {
            "expires_at": rfc3339(token.expires_at),
            "org_id": token.key.ref.org,
            "client_id": token.client_id,
            "credential": token.key.ref.name,
            "scope": " ".join(token.scopes),
            "generation": token.generation,
        },
        separators=(",", ":"),
    )[1:]
    return f'{head},"expires_in":'.encode(), f",{tail}".encode()


def token_body(token: AccessToken, now: float) -> bytes:
    """The JSON answer at `now` (Unix time in seconds); ``expires_in`` is rounded down."""
    head, tail = token_template(token)
    return b"%b%d%b" % (head, int(token.remaining(now)), tail)


def oauth2_response(token: AccessToken, now: float) -> Response:
    """The answer of RFC 6749 section 5.1, at `now` (Unix time in seconds).

    Without ``expires_at``: several client libraries keep a Unix time under that name and fail on any other form.
    """
    body = {
        "access_token": token.value,
        "token_type": "Bearer",
        "expires_in": int(token.remaining(now)),
        "scope": " ".join(token.scopes),
        "org_id": token.key.ref.org,
        "client_id": token.client_id,
        "credential": token.key.ref.name,
        "generation": token.generation,
    }
    return JSONResponse(body, headers=TOKEN_HEADERS)


def token_response(token: AccessToken, now: float) -> Response:
    """``GET /token``'s answer."""
    return Response(token_body(token, now), headers=TOKEN_HEADERS, media_type="application/json")


def adobe_headers(token: AccessToken) -> dict[str, str]:
    """The headers of an Adobe API call (`ims.md` 8)."""
    headers = {
        "Authorization": f"Bearer {token.value}",
        "x-api-key": token.client_id,
        "x-gw-ims-org-id": token.key.ref.org,
    }
    if token.sandbox is not None:
        headers["x-sandbox-name"] = token.sandbox
    return headers
