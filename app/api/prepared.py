"""An answer with a token that is ready before it is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from app.api.answers import Answer
from app.domain.access_token import AccessToken
from app.domain.decision import Decision
from app.domain.rate_limit import Bucket


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prepared answer, valid for one caller, one token and one second.

    Args:
        answer: Headers, except the request id, and body.
        decision: The decision for the event.
        token: The token in the answer.
        bucket: Counts the requests of the caller, or None if it has no limit.

    """

    answer: Answer
    decision: Decision
    token: AccessToken
    bucket: Bucket | None

    def answer_to(self, request_id: str) -> Answer:  # noqa: ARG002  # as `Refused`
        """The answer to the request with this id."""
        return self.answer
