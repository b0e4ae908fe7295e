"""``/token``: vend, report, purge."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.api import openapi
from app.api.answers import TOKEN_ANSWER
from app.api.facts import RequestFacts
from app.api.frame import RequestFrame
from app.api.parameters import parse_ref, parse_sha256, parse_token_query, parse_urlencoded
from app.api.schemas import object_schema
from app.api.warm import WarmPath
from app.domain.authorisation import authorise
from app.domain.policy import Action
from app.domain.strict_json import strict_json
from app.service.purges import Purges

MAX_REPORT_BYTES = 1024


VEND = openapi.route(
    "Vend an access token",
    "vend_token",
    {200: openapi.described_token("A valid token of that org."), **openapi.VENDING},
    parameters=[openapi.ORG, openapi.CREDENTIAL, openapi.SCOPE, openapi.MIN_TTL],
    security=openapi.BEARER,
)

REPORT = openapi.route(
    "Report a token that Adobe refused",
    "report_token",
    {
        200: openapi.described_token("The current token; a new one, if the reported one was current."),
        **openapi.VENDING,
    },
    parameters=[openapi.ORG, openapi.CREDENTIAL, openapi.SCOPE],
    security=openapi.BEARER,
    requestBody={
        "required": True,
        "content": {
            "application/json": {
                "schema": object_schema({"token_sha256": {"type": "string", "pattern": "^[0-9A-Fa-f]{64}$"}}),
            }
        },
    },
)

PURGE = openapi.route(
    "Purge all tokens of a credential, on every replica",
    "purge_token",
    {
        204: {"description": "No earlier token of the credential will be served.", "headers": openapi.COMMON_HEADERS},
        **openapi.problems(400, 401, 403, 429, 503),
    },
    parameters=[openapi.ORG, openapi.CREDENTIAL],
    security=openapi.BEARER,
) | {"status_code": 204}


def token_routes(frame: RequestFrame, purges: Purges, warm: WarmPath) -> APIRouter:
    """The routes of ``/token``. `warm` is its warm path, which `vend_token` prepares."""
    router = APIRouter()

    async def vend_token(request: Request, facts: RequestFacts) -> Response:
        token = await frame.vended(request, facts, warm)
        return TOKEN_ANSWER.answer(token, frame.vendor.seconds_left(token)).response()

    async def report_token(request: Request, facts: RequestFacts) -> Response:
        await frame.admit(request, facts)
        query = parse_token_query(request.scope["query_string"], ("org", "credential", "scope"))
        facts.ref = query.ref
        sha256 = _reported_sha256(await request.body())
        token = await frame.obtain(facts, Action.REPORT, query.scopes, lambda key: frame.vendor.report(key, sha256))
        return TOKEN_ANSWER.answer(token, frame.vendor.seconds_left(token)).response()

    async def purge_token(request: Request, facts: RequestFacts) -> Response:
        await frame.admit(request, facts)
        facts.ref = parse_ref(parse_urlencoded(request.scope["query_string"], ("org", "credential")))
        authorise(facts.caller, Action.PURGE, facts.ref)
        await purges.purge(facts.ref)
        return Response(status_code=204, headers={"cache-control": "no-store"})

    vend = frame.around("/token", Action.VEND, vend_token)
    report = frame.around("/token/report", Action.REPORT, report_token)
    purge = frame.around("/token", Action.PURGE, purge_token)
    openapi.add_get(router, "/token", vend, VEND)
    router.add_api_route("/token/report", report, methods=["POST"], **REPORT)
    router.add_api_route("/token", purge, methods=["DELETE"], **PURGE)
    return router


def _reported_sha256(body: bytes) -> str:
    """The token's hash from ``{"token_sha256": "<hex>"}``; other members are ignored.

    Raises:
        InvalidRequestError: The body is anything else.

    """
    try:
        document = strict_json(body) if len(body) <= MAX_REPORT_BYTES else None
    except ValueError:
        document = None
    return parse_sha256(document.get("token_sha256") if isinstance(document, dict) else None)
