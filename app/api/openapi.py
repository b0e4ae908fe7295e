"""The parts for each route's entry in ``/openapi.json``: parameters, responses and headers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.api.problems import PROBLEM_JSON, PROBLEMS
from app.api.schemas import PROBLEM_SCHEMA, TEXT, TOKEN_SCHEMA
from app.domain.access_token import MAX_MIN_TTL
from app.domain.names import CREDENTIAL_NAME, EXAMPLE_ORG, ORG_ID

ORG_PATTERN = f"^{ORG_ID}$"
CREDENTIAL_PATTERN = f"^{CREDENTIAL_NAME}$"
_SCOPE_PATTERN = r"^[ ,]*[!#-+\--\[\]-~]{1,200}([ ,]+[!#-+\--\[\]-~]{1,200}){0,63}[ ,]*$"
EXAMPLE_SCOPE = "AdobeID openid"


def parameter(name: str, schema: dict[str, Any], description: str, *, required: bool = False) -> dict[str, Any]:
    """A parameter of the query."""
    return {"name": name, "in": "query", "required": required, "schema": schema, "description": description}


ORG = parameter("org", {"type": "string", "pattern": ORG_PATTERN, "example": EXAMPLE_ORG}, "IMS org id.", required=True)
CREDENTIAL = parameter(
    "credential",
    {"type": "string", "pattern": CREDENTIAL_PATTERN, "default": "default"},
    "Name of one of its credentials.",
)
SCOPE = parameter(
    "scope",
    {"type": "string", "pattern": _SCOPE_PATTERN, "example": EXAMPLE_SCOPE},
    "A subset of the credential's scopes, separated by spaces or commas.",
)
MIN_TTL = parameter(
    "min_ttl",
    {"type": "integer", "minimum": 0, "maximum": MAX_MIN_TTL, "default": 0},
    "Seconds for which the token must still be valid.",
)
HEADER = {"schema": TEXT, "required": True}
COMMON_HEADERS = {"X-Request-Id": HEADER, "Cache-Control": HEADER}
TOKEN_ANSWER_HEADERS = {**COMMON_HEADERS, "Pragma": HEADER}
_RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "required": True}}
_HEADERS_OF_STATUS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": HEADER},
    429: _RETRY_AFTER,
    503: _RETRY_AFTER,
}


def json_answer(
    schema: dict[str, Any], description: str, media: str = "application/json", headers: dict[str, Any] = COMMON_HEADERS
) -> dict[str, Any]:
    """An answer of one media type."""
    return {"description": description, "content": {media: {"schema": schema}}, "headers": headers}


def described_token(description: str) -> dict[str, Any]:
    """An answer with a token."""
    return json_answer(TOKEN_SCHEMA, description, headers=TOKEN_ANSWER_HEADERS)


def error_answer(status: int, schema: dict[str, Any], description: str, media: str = PROBLEM_JSON) -> dict[str, Any]:
    """An error with the headers of its status."""
    return json_answer(schema, description, media, COMMON_HEADERS | _HEADERS_OF_STATUS.get(status, {}))


def problems(*statuses: int) -> dict[int | str, Any]:
    """The problem documents of some statuses, and that of 500."""
    titles: dict[int, list[str]] = {500: ["Internal error"]}
    for problem in PROBLEMS.values():
        titles.setdefault(problem.status, []).append(problem.title)
    return {status: error_answer(status, PROBLEM_SCHEMA, "; ".join(titles[status])) for status in (*statuses, 500)}


BEARER: list[dict[str, list[str]]] = [{"bearer": []}]
VENDING = problems(400, 401, 403, 404, 429, 502, 503)


def route(summary: str, operation_id: str | None, responses: dict[int | str, Any], **extra: Any) -> dict[str, Any]:
    """The arguments of FastAPI's ``add_api_route`` except path and function.

    Args:
        summary: One line about the route.
        operation_id: Its name for generated clients; None if each method has its own.
        responses: Its answers by status.
        extra: Further members of its entry.

    """
    described = {
        "summary": summary,
        "response_class": Response,
        "response_model": None,
        "responses": responses,
        "openapi_extra": extra,
    }
    return described if operation_id is None else {**described, "operation_id": operation_id}


def add_get(
    router: APIRouter, path: str, endpoint: Callable[[Request], Awaitable[Response]], described: dict[str, Any]
) -> None:
    """Add a route for GET and HEAD (RFC 9110 section 9.3.2). The server leaves the body out of an answer to HEAD."""
    router.add_api_route(path, endpoint, methods=["GET"], **described)
    name = f"{described['operation_id']}_head"
    router.add_api_route(path, endpoint, methods=["HEAD"], name=name, **{**described, "operation_id": name})


SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a JWT of a configured issuer."},
    "client_secret_basic": {"type": "http", "scheme": "basic", "description": "Caller's name and API key."},
}
