"""The warm path of batches: answers ``POST /tokens`` at once if each item is warm."""

from __future__ import annotations

from app.api.answers import Answer, answer_with_json
from app.api.batch import Batch
from app.api.batch_items import parse_items
from app.api.caller_gate import Admission, proof_of
from app.api.facts import RequestFacts
from app.api.frame import RequestFrame
from app.api.warm import WarmPath
from app.api.warm_head import Headers
from app.domain.decision import DONE, Decision
from app.domain.errors import InvalidRequestError
from app.domain.policy import Action


class BatchHead:
    """The head of a batch.

    Args:
        frame: As of `Batch`.
        warm: The warm path of its items.
        proof: What proves the caller, see `app.api.caller_gate.proof_of`.

    """

    def __init__(self, frame: RequestFrame, warm: WarmPath, proof: bytes) -> None:
        self._frame = frame
        self._warm = warm
        self._proof = proof
        self._admitted: tuple[Admission, Decision] | None = None
        """The caller of the last batch, and the decision on that request."""

    def decide(self, body: bytes, request_id: str, now: float) -> tuple[Answer, Decision] | None:
        """See `app.api.warm_head.BodyHead`. The events of the items have been emitted."""
        admission = self._warm.recall(self._proof, now)
        if admission is None:
            return None
        try:
            items = parse_items(body)
        except InvalidRequestError:
            return None
        facts = RequestFacts(self._warm.endpoint, Action.VEND, admission)
        answer = Batch(self._frame, self._warm, facts, self._proof, items).at_once(request_id)
        return None if answer is None else (answer_with_json(answer), self._decision(admission, facts))

    def _decision(self, admission: Admission, facts: RequestFacts) -> Decision:
        if self._admitted is None or self._admitted[0] is not admission:
            self._admitted = admission, facts.decided(DONE)
        return self._admitted[1]


class WarmBatch:
    """The warm path of batches.

    Args:
        frame: As of `Batch`.
        warm: The warm path of their items.

    """

    def __init__(self, frame: RequestFrame, warm: WarmPath) -> None:
        self._frame = frame
        self._warm = warm

    def head(self, query: bytes, headers: Headers) -> BatchHead | None:  # noqa: ARG002  # as `WarmBody`
        """See `app.api.warm_head.WarmBody`. The query means nothing to this endpoint."""
        authorizations = [value for name, value in headers if name == b"authorization"]
        return BatchHead(self._frame, self._warm, proof_of(authorizations[0])) if len(authorizations) == 1 else None
