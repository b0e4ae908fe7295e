"""``/token``: vend, report, purge."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.api import openapi
from app.api.answers import token_response
from app.api.endpoint import Conversation, Endpoint, request_headers
from app.api.parameters import fields_of, parse_ref, parse_sha256, parse_token_query
from app.api.warm import WarmLane
from app.domain.errors import InvalidRequestError
from app.domain.policy import Action, authorise
from app.domain.strict_json import strict_json
from app.service.purges import Purges

MAX_REPORT_BYTES = 1024


def token_routes(endpoint: Endpoint, purges: Purges, warm: WarmLane) -> APIRouter:
    """The routes of ``/token``. The warm lane learns from each long way, so that the next one is short."""
    router = APIRouter()

    async def vend_token(request: Request) -> Response:
        async def work(talk: Conversation) -> Response:
            identity = await endpoint.admit(request, talk)
            query = parse_token_query(request.scope["query_string"])
            talk.ref = query.ref
            token = await endpoint.obtain(
                talk, identity, Action.VEND, query.scopes, lambda key: endpoint.vendor.vend(key, query.min_ttl)
            )
            [authorization] = request_headers(request, b"authorization")
            warm.learn(authorization, request.scope["query_string"], identity, query)
            return token_response(token, endpoint.clock())

        return await endpoint.run(request, Conversation("/token", Action.VEND), work)

    async def report_token(request: Request) -> Response:
        async def work(talk: Conversation) -> Response:
            identity = await endpoint.admit(request, talk)
            query = parse_token_query(request.scope["query_string"], ("org", "credential", "scope"))
            talk.ref = query.ref
            sha256 = _reported_sha256(await request.body())
            token = await endpoint.obtain(
                talk, identity, Action.REPORT, query.scopes, lambda key: endpoint.vendor.report(key, sha256)
            )
            return token_response(token, endpoint.clock())

        return await endpoint.run(request, Conversation("/token/report", Action.REPORT), work)

    async def purge_token(request: Request) -> Response:
        async def work(talk: Conversation) -> Response:
            identity = await endpoint.admit(request, talk)
            talk.ref = parse_ref(fields_of(request.scope["query_string"], ("org", "credential")))
            authorise(endpoint.gate.resolve(identity), Action.PURGE, talk.ref)
            await purges.purge(talk.ref)
            return Response(status_code=204, headers={"cache-control": "no-store"})

        return await endpoint.run(request, Conversation("/token", Action.PURGE), work)

    router.add_api_route("/token", vend_token, methods=["GET"], **openapi.VEND)
    router.add_api_route("/token/report", report_token, methods=["POST"], **openapi.REPORT)
    router.add_api_route("/token", purge_token, methods=["DELETE"], **openapi.PURGE)
    return router


def _reported_sha256(body: bytes) -> str:
    """The token's hash out of ``{"token_sha256": "<hex>"}``; other members are ignored.

    Raises:
        InvalidRequestError: Not that.

    """
    try:
        document = strict_json(body) if len(body) <= MAX_REPORT_BYTES else None
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise InvalidRequestError('The body must be {"token_sha256": "<64 hex digits>"}.')
    return parse_sha256(document.get("token_sha256"))
