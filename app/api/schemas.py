"""JSON Schemas of the API's answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from app.domain.access_token import MAX_MIN_TTL

TEXT = {"type": "string"}
_NULLABLE_TEXT = {"type": ["string", "null"]}
_TIME = {"type": "string", "format": "date-time"}
_NULLABLE_TIME = {"type": ["string", "null"], "format": "date-time"}


def object_schema(properties: dict[str, Any], required: Iterable[str] | None = None) -> dict[str, Any]:
    """A JSON Schema of an object; all its properties are required unless named otherwise."""
    names = list(properties if required is None else required)
    return {"type": "object", "properties": properties, "required": names}


TOKEN_SCHEMA = object_schema(
    {
        "access_token": TEXT,
        "token_type": {"const": "Bearer"},
        "expires_in": {
            "type": "integer",
            "minimum": 0,
            "description": "Whole seconds until the token expires, rounded down.",
        },
        "expires_at": _TIME,
        "org_id": TEXT,
        "client_id": {"type": "string", "description": "The x-api-key of an Adobe API call."},
        "credential": TEXT,
        "scope": TEXT,
        "generation": {"type": "string", "description": "Version of the credential that the token was minted with."},
    }
)
OAUTH2_TOKEN_SCHEMA = object_schema(
    {name: schema for name, schema in TOKEN_SCHEMA["properties"].items() if name != "expires_at"}
)
PROBLEM_SCHEMA = object_schema(
    {
        "type": {"type": "string", "format": "uri"},
        "title": TEXT,
        "status": {"type": "integer"},
        "detail": TEXT,
        "code": TEXT,
        "request_id": TEXT,
        "retryable": {"type": "boolean"},
    }
)
TOKENS_SCHEMA = object_schema({"items": {"type": "array", "items": {"anyOf": [TOKEN_SCHEMA, PROBLEM_SCHEMA]}}})
BATCH_SCHEMA = object_schema(
    {
        "items": {
            "type": "array",
            "minItems": 1,
            "maxItems": 100,
            "items": object_schema(
                {
                    "org": TEXT,
                    "credential": TEXT,
                    "scope": TEXT,
                    "min_ttl": {"type": "integer", "minimum": 0, "maximum": MAX_MIN_TTL},
                },
                ["org"],
            )
            | {"additionalProperties": False},
        }
    }
) | {"additionalProperties": False}
OAUTH2_ERROR_SCHEMA = object_schema({"error": TEXT, "error_description": TEXT, "code": TEXT, "request_id": TEXT})
ORGS_SCHEMA = object_schema(
    {
        "orgs": {
            "type": "array",
            "items": object_schema(
                {
                    "org_id": TEXT,
                    "credential": TEXT,
                    "kind": _NULLABLE_TEXT,
                    "generation": _NULLABLE_TEXT,
                    "certificate_expires_at": _NULLABLE_TIME,
                    "token": object_schema(
                        {
                            "state": {"enum": ["fresh", "aging", "critical", "expired", "absent"]},
                            "expires_at": _NULLABLE_TIME,
                            "refresh_at": _NULLABLE_TIME,
                            "generation": _NULLABLE_TEXT,
                        }
                    ),
                    "last_error": _NULLABLE_TEXT,
                }
            ),
        },
        "next": {"type": ["string", "null"], "description": "Send it as `after` for the next page."},
    }
)
