"""The policy file as a JSON Schema, so that an editor completes and checks it.

It accepts everything that the parser accepts. What no schema can express, only the parser refuses: names, API keys and
identities that repeat, URLs that are not trustworthy, times that do not exist, and limits of lists with blank items.
The draft is 07, because every YAML editor knows it.
"""

from __future__ import annotations

from typing import Any

from app.domain.issuer_document import MAX_AUDIENCES, MAX_ISSUER_LENGTH, MAX_PATH
from app.domain.match_document import (
    MAX_CLAIM_NAME,
    MAX_CLAIM_VALUE,
    MAX_CLAIMS,
    MAX_SUBJECT_LENGTH,
    NAMESPACE,
    VERIFIED_CLAIMS,
)
from app.domain.names import CREDENTIAL_NAME, ORG_ID, SCOPE_TOKEN
from app.domain.policy import Action
from app.domain.policy_document import API_KEY_SHA256, CALLER_NAME, MODES, RATE
from app.domain.rate_limit import LimitScope
from app.domain.rfc3339 import RFC3339_TIME

Schema = dict[str, Any]

_BLANK: Schema = {"$ref": "#/definitions/blank"}
_URL: Schema = {"type": "string", "pattern": r"^[Hh][Tt][Tt][Pp][Ss]?://[!-\"$-\[\]-~]+$", "maxLength": 2048}
_EVERY = "*"


def policy_schema() -> Schema:
    """The JSON Schema of a decoded policy file."""
    top = {
        "version": {"const": 1, "description": "The version of the format: 1."},
        "issuers": _list(_issuer(), "The trusted issuers of callers' JWTs."),
        "callers": _list(_caller(), "The internal services that may ask for tokens. Without a caller no one may."),
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Policy of ims-token-broker: which caller may get which token",
        **_object(top, "version"),
        "definitions": {"blank": {"enum": [None, "", [], {}]}},
    }


def _object(properties: dict[str, Schema], *required: str, **more: object) -> Schema:
    closed: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**closed, **({"required": list(required)} if required else {}), **more}


def _blank_or(schema: Schema, description: str = "") -> Schema:
    return {"anyOf": [schema, _BLANK], **({"description": description} if description else {})}


def _list(item: Schema, description: str = "") -> Schema:
    """A list whose blank items are skipped, or nothing."""
    return _blank_or({"type": "array", "items": _blank_or(item)}, description)


def _text(longest: int, description: str = "") -> Schema:
    """Printable text, as Python's `str.isprintable` defines it."""
    schema: Schema = {"type": "string", "pattern": r"^( |[^\p{C}\p{Z}])+$", "maxLength": longest}
    return {**schema, **({"description": description} if description else {})}


def _form(pattern: str, description: str = "") -> Schema:
    schema: Schema = {"type": "string", "pattern": f"^({pattern})$"}
    return {**schema, **({"description": description} if description else {})}


def _issuer() -> Schema:
    properties = {
        "issuer": _text(MAX_ISSUER_LENGTH, "Exactly the iss claim of its JWTs."),
        "audience": {
            "description": f"The accepted audience, or a list of 1 to {MAX_AUDIENCES}.",
            "anyOf": [
                _text(MAX_ISSUER_LENGTH),
                {"type": "array", "items": _blank_or(_text(MAX_ISSUER_LENGTH)), "contains": {"not": _BLANK}},
            ],
        },
        "jwks_url": {**_URL, "description": "Where its keys are: https, or http for loopback only."},
        "jwks_file": _text(MAX_PATH, "A file with its keys, instead of jwks_url."),
        "jwks_ca_file": _text(MAX_PATH, "CA bundle for jwks_url."),
        "jwks_token_file": _text(MAX_PATH, "A file with a Bearer token for reading jwks_url."),
        "token_review_url": {**_URL, "description": "A Kubernetes API server that confirms each token."},
        "token_review_ca_file": _text(MAX_PATH, "CA bundle for token_review_url."),
        "token_review_token_file": _text(MAX_PATH, "A file with a Bearer token for token_review_url."),
    }
    return _object(
        properties,
        "issuer",
        "audience",
        oneOf=[{"required": ["jwks_url"]}, {"required": ["jwks_file"]}],
        dependencies={
            "jwks_ca_file": ["jwks_url"],
            "jwks_token_file": ["jwks_url"],
            "token_review_ca_file": ["token_review_url"],
            "token_review_token_file": ["token_review_url"],
        },
    )


def _caller() -> Schema:
    rate = _form(RATE, "Requests per second, minute or hour: 200/s, 600/m, 1000/h.")
    scope = {"enum": [*LimitScope], "description": "replica, the default: of each replica. fleet: of all together."}
    scoped = _object({"limit": rate, "scope": scope}, "limit")
    properties = {
        "name": _form(CALLER_NAME, "Its name in the audit log and the metrics."),
        "match": _blank_or(_match(), "Who is this caller: API keys, JWTs, or both."),
        "rate_limit": {"anyOf": [rate, scoped], "description": "Its own limit; the short form is per replica."},
        "allow": _list(_rule(), "What it may do. Rules that match the same org and credential add up."),
    }
    return _object(properties, "name")


def _match() -> Schema:
    subject = _text(MAX_SUBJECT_LENGTH)
    value: Schema = {"anyOf": [_text(MAX_CLAIM_VALUE), {"type": ["integer", "boolean"]}, _BLANK]}
    claim: Schema = {"anyOf": [value, {"type": "array", "items": value}]}
    claims = {
        "type": "object",
        "maxProperties": MAX_CLAIMS,
        "propertyNames": {**_text(MAX_CLAIM_NAME), "not": {"enum": sorted(VERIFIED_CLAIMS)}},
        "additionalProperties": claim,
    }
    sha256 = _form(API_KEY_SHA256)
    properties = {
        "api_key_sha256": _list(
            {"anyOf": [sha256, _object({"sha256": sha256, "not_after": _not_after()}, "sha256")]},
            "The SHA-256 of each API key, in lower-case hex; or with the time at which it ends.",
        ),
        "issuer": _blank_or(_text(MAX_ISSUER_LENGTH), "One of the issuers."),
        "subject": _blank_or({"anyOf": [subject, _list(subject)]}, "The sub claim, or a list."),
        "namespace": _blank_or(_form(NAMESPACE), "A Kubernetes namespace: all its service accounts."),
        "claims": _blank_or(claims, "Claims that the JWT must have, each with one of the listed values."),
    }
    nothing: Schema = {"anyOf": [_BLANK, {"type": "array", "items": _BLANK}]}
    both: Schema = {
        "required": ["subject", "namespace"],
        "properties": {"subject": {"not": nothing}, "namespace": {"not": _BLANK}},
    }
    return _object(properties, **{"not": both})


def _rule() -> Schema:
    every: Schema = {"type": "array", "items": _blank_or({"const": _EVERY})}
    orgs = {"anyOf": [{"type": "array", "items": _blank_or(_form(ORG_ID))}, every, _BLANK]}
    properties = {
        "orgs": {**orgs, "description": 'Exact org ids, or ["*"] for every org.'},
        "credentials": _list(_form(CREDENTIAL_NAME), 'Names of credentials; the default is ["default"].'),
        "scopes": _list(
            {**_form(SCOPE_TOKEN), "not": {"const": _EVERY}}, "Scopes; the default is all of the credential's."
        ),
        "actions": _list({"enum": [*Action]}, "The default is [vend, report]."),
        "not_after": {**_not_after(), "description": "From this time on the rule allows nothing."},
        "mode": {"enum": [*MODES], "description": "audit: what it would allow is logged, not granted."},
    }
    return _object(properties)


def _not_after() -> Schema:
    return _form(RFC3339_TIME, "A time in the form of RFC 3339, such as 2027-01-31T00:00:00Z.")
