"""``POST /tokens``: up to 100 tokens in one request. Each item is decided, counted and reported like ``GET /token``.

A request without items counts as one, so that malformed ones are limited, too.
"""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.api import openapi
from app.api.answers import answer_with_json
from app.api.batch import Batch
from app.api.batch_items import Item, parse_items
from app.api.caller_gate import proof_of
from app.api.facts import RequestFacts
from app.api.frame import RequestFrame, request_headers, request_id_of
from app.api.schemas import BATCH_SCHEMA, TOKENS_SCHEMA
from app.api.warm import WarmPath
from app.domain.errors import InvalidRequestError
from app.domain.policy import Action

TOKENS = openapi.route(
    "Vend several access tokens",
    "vend_tokens",
    {
        200: openapi.json_answer(
            TOKENS_SCHEMA,
            "For each item, in order, the body of `GET /token` or a problem document with its status.",
            headers=openapi.TOKEN_ANSWER_HEADERS,
        ),
        **openapi.problems(400, 401, 403, 429, 503),
    },
    security=openapi.BEARER,
    requestBody={"required": True, "content": {"application/json": {"schema": BATCH_SCHEMA}}},
)


def tokens_routes(frame: RequestFrame, warm: WarmPath) -> APIRouter:
    """The route of ``/tokens``. `warm` is the warm path of its items."""
    router = APIRouter()

    async def vend_tokens(request: Request, facts: RequestFacts) -> Response:
        await frame.prove(request, facts)
        [authorization] = request_headers(request, b"authorization")
        batch = Batch(frame, warm, facts, proof_of(authorization), await _items_of(request, facts))
        return answer_with_json(await batch.answer(request_id_of(request))).response()

    async def _items_of(request: Request, facts: RequestFacts) -> tuple[Item, ...]:
        try:
            return parse_items(await request.body())
        except (InvalidRequestError, ClientDisconnect):
            frame.gate.count(facts.caller)
            raise

    answer = frame.around("/tokens", Action.VEND, vend_tokens)
    router.add_api_route("/tokens", answer, methods=["POST"], **TOKENS)
    return router
