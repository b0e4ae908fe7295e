"""``GET /orgs``: the status of a caller's tenants."""

from __future__ import annotations

import re
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.api import openapi
from app.api.facts import RequestFacts
from app.api.frame import RequestFrame
from app.api.parameters import parse_urlencoded
from app.api.schemas import ORGS_SCHEMA
from app.domain.authorisation import authorise_listing
from app.domain.errors import InvalidRequestError
from app.domain.names import CREDENTIAL_NAME, ORG_ID, CredentialRef, parse_credential_name, parse_org
from app.domain.policy import Action
from app.domain.rfc3339 import rfc3339
from app.service.status import CredentialStatus, StatusReader

MAX_LIMIT = 1000
_LIMIT = re.compile(r"[1-9][0-9]{0,3}")


ORGS = openapi.route(
    "The orgs and credentials this caller may see",
    "list_orgs",
    {200: openapi.json_answer(ORGS_SCHEMA, "A page of them, in order."), **openapi.problems(400, 401, 403, 429, 503)},
    parameters=[
        openapi.parameter("limit", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}, "Page size."),
        openapi.parameter(
            "after",
            {"type": "string", "pattern": f"^{ORG_ID}/{CREDENTIAL_NAME}$"},
            "The `next` of the previous page.",
        ),
    ],
    security=openapi.BEARER,
)


def orgs_routes(frame: RequestFrame, status: StatusReader) -> APIRouter:
    """The route of ``/orgs``."""
    router = APIRouter()

    async def list_orgs(request: Request, facts: RequestFacts) -> Response:
        await frame.admit(request, facts)
        authorise_listing(facts.caller)
        fields = parse_urlencoded(request.scope["query_string"], ("after", "limit"))
        page, last = await status.page(facts.caller, _parse_after(fields), _parse_limit(fields))
        following = None if last is None else f"{last.org}/{last.name}"
        body = {"orgs": [_status_body(item) for item in page], "next": following}
        return JSONResponse(body, headers={"cache-control": "no-store"})

    answer = frame.around("/orgs", Action.STATUS, list_orgs)
    openapi.add_get(router, "/orgs", answer, ORGS)
    return router


def _parse_limit(fields: dict[str, str]) -> int:
    limit = fields.get("limit", "100")
    if _LIMIT.fullmatch(limit) is None or int(limit) > MAX_LIMIT:
        raise InvalidRequestError(f"limit must be a number from 1 to {MAX_LIMIT}.")
    return int(limit)


def _parse_after(fields: dict[str, str]) -> CredentialRef | None:
    if "after" not in fields:
        return None
    org, _, name = fields["after"].partition("/")
    return CredentialRef(parse_org(org), parse_credential_name(name))


def _status_body(status: CredentialStatus) -> dict[str, Any]:
    token = status.token
    ends = status.certificate_expires_at
    return {
        "org_id": status.ref.org,
        "credential": status.ref.name,
        "kind": status.kind,
        "generation": status.generation,
        "certificate_expires_at": None if ends is None else rfc3339(ends),
        "token": {
            "state": status.token_state,
            "expires_at": None if token is None else rfc3339(token.expires_at),
            "refresh_at": None if token is None else rfc3339(token.refresh_at),
            "generation": None if token is None else token.generation,
        },
        "last_error": status.last_error,
    }
