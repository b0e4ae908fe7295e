"""The refusals of one endpoint that are as certain as a warm answer: from memory, or from the credential alone.

Nothing is remembered of a caller that has not proven itself. What a caller was denied is remembered for it alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.api.answers import Answer
from app.api.caller_gate import Admission, CallerGate
from app.api.facts import RequestFacts
from app.api.refusal_answers import ErrorResponse, RefusalAnswers
from app.domain.decision import Decision
from app.domain.errors import CallerError, ForbiddenError, RateLimitedError, UnauthenticatedError
from app.domain.policy import Action, Caller, Policy
from app.domain.rate_limit import Bucket
from app.domain.refusal_reason import RefusalReason
from app.process.fair_memory import FairMemory

MAX_DENIED_BYTES = 2 * 1024 * 1024
"""Memory for the queries of one endpoint that were denied. Beyond it the caller with the most loses its oldest."""

DENIED_BYTES = 800
"""Bytes of memory that a denied query takes besides its text."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal, and the decision for its event.

    Args:
        error: Why.
        decision: The decision: one object for all requests with the same one.
        answers: Makes the answer.

    """

    error: CallerError
    decision: Decision
    answers: RefusalAnswers

    def answer_to(self, request_id: str) -> Answer:
        """The answer to the request with this id."""
        return self.answers.answer(self.error, request_id)


@dataclass(frozen=True, slots=True)
class _Denied:
    refused: Refused
    bucket: Bucket | None


class WarmRefusals:
    """Refuses requests of one endpoint.

    Args:
        endpoint: The route, such as ``/token``.
        gate: Has the policy in force, and the callers' rate limits.
        render: Makes the endpoint's answer from an error.
        limit: Bytes for the queries that were denied.

    """

    def __init__(self, endpoint: str, gate: CallerGate, render: ErrorResponse, limit: int = MAX_DENIED_BYTES) -> None:
        self._endpoint = endpoint
        self._gate = gate
        self._answers = RefusalAnswers(render)
        self._denied = FairMemory[Caller, tuple[Caller, str | None, bytes], _Denied](limit)
        self._limited: dict[tuple[Caller, str | None], Decision] = {}
        self._under: Policy | None = None
        # By reason: the bounded list of them.
        self._unproven: dict[RefusalReason | type[CallerError], Decision] = {}

    def unproven(self, error: CallerError) -> Refused:
        """The refusal of a credential, for the reason in `error`."""
        reason = error.reason if isinstance(error, UnauthenticatedError) else type(error)
        decision = self._unproven.get(reason)
        if decision is None:
            decision = self._unproven[reason] = RequestFacts(self._endpoint, Action.VEND).refused(error)
        return Refused(error, decision, self._answers)

    def limited(self, admission: Admission, wait: float) -> Refused:
        """The refusal of a caller that is over its limit for so many seconds."""
        self._begin(self._gate.policy)
        error, caller = RateLimitedError(wait), (admission.caller, admission.api_key_sha256)
        decision = self._limited.get(caller)
        if decision is None:
            decision = self._limited[caller] = RequestFacts(self._endpoint, Action.VEND, admission).refused(error)
        return Refused(error, decision, self._answers)

    def denied(self, admission: Admission, query: bytes, now: float) -> Refused | None:
        """The refusal of a query that the policy in force denies its caller, which is counted; None if unknown.

        Args:
            admission: The caller, under the policy in force.
            query: The query as sent.
            now: Unix time in seconds.

        """
        # A caller object belongs to one version of the policy, so what another one denied is not found.
        denied = self._denied.get((admission.caller, admission.api_key_sha256, query))
        if denied is None:
            return None
        wait = 0.0 if denied.bucket is None else denied.bucket.take(now)
        return self.limited(admission, wait) if wait > 0 else denied.refused

    def learn(self, facts: RequestFacts, query: bytes) -> None:
        """Prepare for the next request like this one, if the policy in force has just denied it.

        Args:
            facts: The facts of the request.
            query: The query as sent.

        """
        admission, policy = facts.admitted, self._gate.policy
        if facts.denied is None or admission.policy is not policy:
            return
        self._begin(policy)
        # A new error, because the one that was raised refers to all that its request had.
        error = ForbiddenError(facts.denied.audit_rule)
        denied = _Denied(Refused(error, facts.refused(error), self._answers), self._gate.bucket(admission.caller))
        place = (admission.caller, admission.api_key_sha256, query)
        self._denied.keep(admission.caller, place, denied, DENIED_BYTES + len(query))

    def _begin(self, policy: Policy) -> None:
        """Forget what was refused under another policy."""
        if self._under is not policy:
            self._denied.clear()
            self._limited.clear()
            self._under = policy
