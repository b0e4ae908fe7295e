"""The items of ``POST /tokens``, each decided on its own: at once if its answer is prepared, otherwise in a task."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence

from app.api.answers import TOKEN_ANSWER
from app.api.batch_items import Item
from app.api.facts import RequestFacts
from app.api.frame import RequestFrame
from app.api.parameters import parse_token_fields
from app.api.prepared import Prepared
from app.api.problems import problem_document
from app.api.warm import WarmPath
from app.domain.access_token import AccessToken
from app.domain.dependency_errors import OverloadedError
from app.domain.errors import BrokerError, RateLimitedError
from app.domain.policy import Action, Policy

MOST_ROUNDS = 5
"""How often items whose token was purged, or may be denied, while others waited are decided again."""

Result = Prepared | AccessToken | BrokerError


class Batch:
    """The items of one request.

    Args:
        frame: Decides about items without a prepared answer.
        warm: Decides about the others.
        request: The facts about the request, whose caller is proven.
        proof: What proves the caller, see `app.api.caller_gate.proof_of`.
        items: The items.

    """

    def __init__(
        self, frame: RequestFrame, warm: WarmPath, request: RequestFacts, proof: bytes, items: Sequence[Item]
    ) -> None:
        self._frame = frame
        self._warm = warm
        self._request = request
        self._proof = proof
        self._items = items
        self._facts: dict[int, RequestFacts] = {}
        self._first = self._prepared()

    def at_once(self, request_id: str) -> bytes | None:
        """The body of the answer, if none of the items needs to wait; otherwise None, and nothing was counted.

        With an answer, each item has been counted, and its event has been emitted.
        """
        warm = [prepared for prepared in self._first if prepared is not None]
        if len(warm) < len(self._first):
            return None
        refusals = self._counted()
        if refusals:
            return self._ended({**dict(enumerate(warm)), **refusals}, request_id)
        self._frame.report_warm([one.decision for one in warm], request_id)
        return _body([one.answer.body for one in warm])

    async def answer(self, request_id: str) -> bytes:
        """The body of the answer. Each item has been counted, and its event has been emitted."""
        body = self.at_once(request_id)
        if body is not None:
            return body
        results: dict[int, Result] = {
            number: prepared for number, prepared in enumerate(self._first) if prepared is not None
        }
        results.update(self._counted())
        await self._settle(results)
        return self._ended(results, request_id)

    def _counted(self) -> Mapping[int, RateLimitedError]:
        """Count all items, in order: the errors of those that are over the limit of the caller."""
        return self._frame.gate.count_each(self._request.caller, len(self._items))

    def _prepared(self) -> Sequence[Prepared | None]:
        """The decisions on the items that need not wait; None for the others."""
        now = self._frame.clock()
        admission = self._warm.recall(self._proof, now)
        if admission is None:
            return [None] * len(self._items)
        prepared = self._warm.prepared
        return [prepared(admission, item.query, now) for item in self._items]

    async def _settle(self, results: dict[int, Result]) -> None:
        """Add the results that are missing, until none is of a token that was denied or purged while others waited."""
        deadline = self._frame.item_deadline()
        for _ in range(1 + MOST_ROUNDS):
            missing = [number for number in range(len(self._items)) if number not in results]
            if not missing:
                return
            policy = self._frame.gate.policy
            found = await asyncio.gather(*(self._obtained(number, deadline) for number in missing))
            results.update(zip(missing, found, strict=True))
            for number in self._outdated(results, policy):
                del results[number]

    def _outdated(self, results: Mapping[int, Result], policy: Policy) -> list[int]:
        """The numbers of the tokens that were purged since, or all if another policy than this one is in force."""
        changed, is_current = self._frame.gate.policy is not policy, self._frame.vendor.is_current
        return [
            number
            for number, result in results.items()
            if not isinstance(result, BrokerError) and (changed or not is_current(_token_of(result)))
        ]

    async def _obtained(self, number: int, deadline: float) -> AccessToken | BrokerError:
        facts, item = self._facts_of(number), self._items[number]
        return await self._frame.item(lambda: self._vend(facts, item), deadline)

    async def _vend(self, facts: RequestFacts, item: Item) -> AccessToken:
        query, vendor = parse_token_fields(item.fields), self._frame.vendor
        facts.ref = query.ref
        token = await self._frame.obtain(facts, Action.VEND, query.scopes, lambda key: vendor.vend(key, query.min_ttl))
        self._warm.learn(facts.admitted, item.query, token, query.min_ttl)
        return token

    def _ended(self, results: Mapping[int, Result], request_id: str) -> bytes:
        """Report and render. Nothing waits from here on: what is reported is what is handed out."""
        outdated = OverloadedError("The policy or the token changed again and again; ask again.")
        ends = [results.get(number, outdated) for number in range(len(self._items))]
        for number, result in enumerate(ends):
            self._report(number, result, request_id)
        return _body([self._rendered(result, request_id) for result in ends])

    def _report(self, number: int, result: Result, request_id: str) -> None:
        if isinstance(result, Prepared):
            self._frame.report_warm([result.decision], request_id)
        else:
            error = result if isinstance(result, BrokerError) else None
            self._frame.report_item(self._facts_of(number), error, request_id)

    def _rendered(self, result: Result, request_id: str) -> bytes:
        if isinstance(result, BrokerError):
            return json.dumps(problem_document(result, request_id), separators=(",", ":")).encode()
        token = _token_of(result)
        return TOKEN_ANSWER.answer(token, self._frame.vendor.seconds_left(token)).body

    def _facts_of(self, number: int) -> RequestFacts:
        request = self._request
        return self._facts.setdefault(number, RequestFacts(request.endpoint, request.action, request.admission))


def _token_of(result: Prepared | AccessToken) -> AccessToken:
    return result.token if isinstance(result, Prepared) else result


def _body(answers: Iterable[bytes]) -> bytes:
    return b'{"items":[%b]}' % b",".join(answers)
