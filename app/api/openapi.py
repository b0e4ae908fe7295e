"""What ``/openapi.json`` declares of each route: every parameter, answer and header."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from app.api.problems import PROBLEM_JSON, PROBLEMS
from app.api.schemas import (
    OAUTH2_ERROR_SCHEMA,
    OAUTH2_TOKEN_SCHEMA,
    ORGS_SCHEMA,
    PROBLEM_SCHEMA,
    TEXT,
    TOKEN_SCHEMA,
    object_schema,
)

_ORG_ID = "[A-Za-z0-9]{24}@AdobeOrg"
_CREDENTIAL_NAME = "[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
ORG_PATTERN = f"^{_ORG_ID}$"
CREDENTIAL_PATTERN = f"^{_CREDENTIAL_NAME}$"
_SCOPE_PATTERN = r"^[ ,]*[!#-+\--\[\]-~]{1,200}([ ,]+[!#-+\--\[\]-~]{1,200}){0,63}[ ,]*$"
_EXAMPLE_ORG = "0123456789ABCDEF01234567@AdobeOrg"
_EXAMPLE_SCOPE = "AdobeID openid"


def _parameter(name: str, schema: dict[str, Any], description: str, *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": required, "schema": schema, "description": description}


_ORG = _parameter(
    "org", {"type": "string", "pattern": ORG_PATTERN, "example": _EXAMPLE_ORG}, "IMS org id.", required=True
)
_CREDENTIAL = _parameter(
    "credential", {"type": "string", "pattern": CREDENTIAL_PATTERN, "default": "default"}, "Which of its credentials."
)
_SCOPE = _parameter(
    "scope",
    {"type": "string", "pattern": _SCOPE_PATTERN, "example": _EXAMPLE_SCOPE},
    "A subset of the credential's scopes, separated by spaces or commas.",
)
_MIN_TTL = _parameter(
    "min_ttl",
    {"type": "integer", "minimum": 0, "maximum": 43200, "default": 0},
    "Seconds of life that the token must have left.",
)
_HEADER = {"schema": TEXT, "required": True}
_COMMON_HEADERS = {"X-Request-Id": _HEADER, "Cache-Control": _HEADER}
_TOKEN_HEADERS = {**_COMMON_HEADERS, "Pragma": _HEADER}
_RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "required": True}}
_HEADERS_OF_STATUS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": _HEADER},
    429: _RETRY_AFTER,
    503: _RETRY_AFTER,
}


def _json(
    schema: dict[str, Any], description: str, media: str = "application/json", headers: dict[str, Any] = _COMMON_HEADERS
) -> dict[str, Any]:
    return {"description": description, "content": {media: {"schema": schema}}, "headers": headers}


def _token(description: str) -> dict[str, Any]:
    return _json(TOKEN_SCHEMA, description, headers=_TOKEN_HEADERS)


def _error(status: int, schema: dict[str, Any], description: str, media: str = PROBLEM_JSON) -> dict[str, Any]:
    return _json(schema, description, media, _COMMON_HEADERS | _HEADERS_OF_STATUS.get(status, {}))


def _problems(*statuses: int) -> dict[int | str, Any]:
    titles: dict[int, list[str]] = {500: ["Internal error"]}
    for problem in PROBLEMS.values():
        titles.setdefault(problem.status, []).append(problem.title)
    return {status: _error(status, PROBLEM_SCHEMA, "; ".join(titles[status])) for status in (*statuses, 500)}


_BEARER: list[dict[str, list[str]]] = [{"bearer": []}]
_VENDING = _problems(400, 401, 403, 404, 429, 502, 503)


def _route(summary: str, operation_id: str | None, responses: dict[int | str, Any], **extra: Any) -> dict[str, Any]:
    route = {
        "summary": summary,
        "response_class": Response,
        "response_model": None,
        "responses": responses,
        "openapi_extra": extra,
    }
    return route if operation_id is None else {**route, "operation_id": operation_id}


VEND = _route(
    "Vend an access token",
    "vend_token",
    {200: _token("A valid token of that org."), **_VENDING},
    parameters=[_ORG, _CREDENTIAL, _SCOPE, _MIN_TTL],
    security=_BEARER,
)
REPORT = _route(
    "Report a token that Adobe refused",
    "report_token",
    {200: _token("The current token; a new one, if the reported one was current."), **_VENDING},
    parameters=[_ORG, _CREDENTIAL, _SCOPE],
    security=_BEARER,
    requestBody={
        "required": True,
        "content": {
            "application/json": {
                "schema": object_schema({"token_sha256": {"type": "string", "pattern": "^[0-9A-Fa-f]{64}$"}}),
            }
        },
    },
)
PURGE = _route(
    "Forget all tokens of a credential, on every replica",
    "purge_token",
    {
        204: {"description": "Nothing minted before will be served.", "headers": _COMMON_HEADERS},
        **_problems(400, 401, 403, 429, 503),
    },
    parameters=[_ORG, _CREDENTIAL],
    security=_BEARER,
) | {"status_code": 204}
HEADERS = _route(
    "Vend a token as response headers, for a gateway",
    None,
    {
        200: {
            "description": "The headers of an Adobe API call; no body.",
            "headers": {
                **_TOKEN_HEADERS,
                **dict.fromkeys(("Authorization", "x-api-key", "x-gw-ims-org-id"), _HEADER),
                "x-sandbox-name": {"schema": TEXT},
            },
        },
        **_VENDING,
    },
    parameters=[_ORG, _CREDENTIAL, _SCOPE, _MIN_TTL],
    security=_BEARER,
)
ORGS = _route(
    "The orgs and credentials this caller may see",
    "list_orgs",
    {200: _json(ORGS_SCHEMA, "A page of them, in order."), **_problems(400, 401, 403, 429, 503)},
    parameters=[
        _parameter("limit", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}, "How many."),
        _parameter(
            "after",
            {"type": "string", "pattern": f"^{_ORG_ID}/{_CREDENTIAL_NAME}$"},
            "The `next` of the page before.",
        ),
    ],
    security=_BEARER,
)
OAUTH2_TOKEN = _route(
    "Issue a token by the client credentials grant (RFC 6749 section 4.4)",
    "oauth2_token",
    {
        200: _json(OAUTH2_TOKEN_SCHEMA, "A valid token (section 5.1).", headers=_TOKEN_HEADERS),
        **{
            status: _error(status, OAUTH2_ERROR_SCHEMA, meaning, "application/json")
            for status, meaning in {
                400: "invalid_request, invalid_scope, unauthorized_client or unsupported_grant_type (section 5.2)",
                401: "invalid_client",
                429: "temporarily_unavailable: the client's own rate limit",
                503: "temporarily_unavailable",
            }.items()
        },
        500: _json(PROBLEM_SCHEMA, "Internal error", PROBLEM_JSON),
    },
    parameters=[
        _parameter("org", {"type": "string", "pattern": ORG_PATTERN}, "IMS org id, here or in the form."),
        _parameter("credential", {"type": "string", "pattern": CREDENTIAL_PATTERN}, "Which of its credentials."),
        _SCOPE,
    ],
    security=[{"client_secret_basic": []}, {}],
    requestBody={
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": object_schema(
                    {
                        "grant_type": {"const": "client_credentials"},
                        "client_id": TEXT,
                        "client_secret": TEXT,
                        "client_assertion": TEXT,
                        "client_assertion_type": TEXT,
                        # A parameter without a value counts as left out (RFC 6749 section 3.2).
                        "org": {"type": "string", "pattern": f"^({_ORG_ID})?$"},
                        "credential": {"type": "string", "pattern": f"^({_CREDENTIAL_NAME})?$"},
                        "scope": TEXT,
                    },
                    required=["grant_type"],
                )
                # Unknown ones are ignored, repeated ones are refused (ibid.).
                | {"additionalProperties": TEXT},
                "example": {"grant_type": "client_credentials", "org": _EXAMPLE_ORG, "scope": _EXAMPLE_SCOPE},
            }
        },
    },
)
LIVEZ = _route("Whether the process lives", "livez", {200: _json(object_schema({"status": TEXT}), "It does.")})
READYZ = _route(
    "Whether this replica takes requests",
    "readyz",
    {
        200: _json(object_schema({"status": TEXT}), "It does."),
        503: _error(503, PROBLEM_SCHEMA, "Starting or shutting down"),
    },
)
METRICS = _route(
    "Prometheus metrics",
    "metrics",
    {200: _json(TEXT, "The text format.", "text/plain")},
)
DISCOVERY = _route(
    "The token endpoint described (RFC 8414)",
    "oauth_authorization_server",
    {
        200: _json({"type": "object"}, "Authorization server metadata."),
        503: _error(503, PROBLEM_SCHEMA, "The broker is overloaded"),
    },
)
SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a JWT of a configured issuer."},
    "client_secret_basic": {"type": "http", "scheme": "basic", "description": "Caller's name and API key."},
}
