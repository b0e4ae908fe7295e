"""The entry of ``/oauth2/token`` in ``/openapi.json``."""

from __future__ import annotations

from app.api import openapi
from app.api.problems import PROBLEM_JSON
from app.api.schemas import OAUTH2_ERROR_SCHEMA, OAUTH2_TOKEN_SCHEMA, PROBLEM_SCHEMA, TEXT, object_schema
from app.domain.names import CREDENTIAL_NAME, EXAMPLE_ORG, ORG_ID


def _matching(pattern: str) -> dict[str, str]:
    return {"type": "string", "pattern": pattern}


OAUTH2_TOKEN = openapi.route(
    "Issue a token by the client credentials grant (RFC 6749 section 4.4)",
    "oauth2_token",
    {
        200: openapi.json_answer(
            OAUTH2_TOKEN_SCHEMA, "A valid token (section 5.1).", headers=openapi.TOKEN_ANSWER_HEADERS
        ),
        **{
            status: openapi.error_answer(status, OAUTH2_ERROR_SCHEMA, meaning, "application/json")
            for status, meaning in {
                400: "invalid_request, invalid_scope, unauthorized_client or unsupported_grant_type (section 5.2)",
                401: "invalid_client",
                429: "temporarily_unavailable: the client's own rate limit",
                503: "temporarily_unavailable",
            }.items()
        },
        500: openapi.json_answer(PROBLEM_SCHEMA, "Internal error", PROBLEM_JSON),
    },
    parameters=[
        openapi.parameter(
            "org", {"type": "string", "pattern": openapi.ORG_PATTERN}, "IMS org id, here or in the form."
        ),
        openapi.parameter(
            "credential", {"type": "string", "pattern": openapi.CREDENTIAL_PATTERN}, "Name of one of its credentials."
        ),
        openapi.SCOPE,
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
                        # A parameter without a value counts as omitted (RFC 6749 section 3.2).
                        "org": {"type": "string", "pattern": f"^({ORG_ID})?$"},
                        "credential": {"type": "string", "pattern": f"^({CREDENTIAL_NAME})?$"},
                        "scope": TEXT,
                    },
                    required=["grant_type"],
                )
                # Unknown ones are ignored, repeated ones are refused (ibid.).
                | {"additionalProperties": TEXT},
                "example": {
                    "grant_type": "client_credentials",
                    "org": EXAMPLE_ORG,
                    "scope": openapi.EXAMPLE_SCOPE,
                },
            }
        },
    },
)
