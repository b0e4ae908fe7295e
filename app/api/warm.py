"""The warm path: a decision that needs no one else, prepared beforehand and made by one synchronous function.

Its decisions on queries are those that the long path made under the policy in force; on credentials it asks the gate,
as the long path does. ``None`` always means "take the long path", never "refused".

Rules:

1. Each endpoint has its own warm path, so no endpoint can send an answer that another one prepared.
2. A caller is recognised by the SHA-256 of exactly the bytes that proved it, until the proof expires or the policy
   changes.
3. A query is only a dictionary key. Only the long path parses it.
4. A request is counted against its rate limit once: here if it is answered here, otherwise by the long path.
"""

from __future__ import annotations

import sys

from app.api.answers import AnswerForm
from app.api.caller_gate import Admission, CallerGate, VerifiedCallers
from app.api.facts import RequestFacts
from app.api.prepared import Prepared
from app.api.problems import problem_response
from app.api.refusal_answers import ErrorResponse
from app.api.warm_memory import Vended, WarmMemory
from app.api.warm_refusals import Refused, WarmRefusals
from app.domain.access_token import AccessToken
from app.domain.decision import VENDED, Decision
from app.domain.errors import CallerError
from app.domain.policy import Action
from app.service.vend import TokenVendor

MAX_WARM_QUERY_BYTES = 1024
"""Longer queries always take the long path: there are many, so each must be small."""


class WarmPath:
    """Answers requests of one endpoint whose caller, query and token are known.

    Args:
        endpoint: The route, such as ``/token``.
        form: Makes the endpoint's answer from a token.
        gate: Has the policy in force, and the callers' rate limits.
        vendor: Has the tokens in memory.
        memory: Remembers queries, for this and other endpoints.
        verified: Remembers the proofs of callers; by default the gate's memory of Authorization headers.
        methods: The methods that are answered, or None for all.
        refuse: Makes the endpoint's answer from an error.

    """

    def __init__(
        self,
        endpoint: str,
        form: AnswerForm,
        gate: CallerGate,
        vendor: TokenVendor,
        memory: WarmMemory,
        *,
        verified: VerifiedCallers | None = None,
        methods: frozenset[str] | None = None,
        refuse: ErrorResponse = problem_response,
    ) -> None:
        self.endpoint = endpoint
        self.methods = methods
        self._form = form
        self._gate = gate
        self._vendor = vendor
        self._verified = gate.headers if verified is None else verified
        self._taught = memory
        self._refusals = WarmRefusals(endpoint, gate, refuse)

    def decide_head(
        self, authorizations: tuple[bytes, ...], query: bytes, address: str, now: float
    ) -> Prepared | Refused | None:
        """The same as `decide`, for the head of a request that was parsed; arguments as of `CallerGate.recognise`."""
        try:
            admission = self._gate.recognise(authorizations, address, now)
        except CallerError as error:
            return self._refusals.unproven(error)
        return None if admission is None else self._decided(admission, query, now)

    def decide(self, proof: bytes, query: bytes, now: float) -> Prepared | Refused | None:
        """The decision with its answer, or None for the long path. It never waits, and never raises an error.

        Args:
            proof: Of the caller (see `proof_of`): of the only Authorization header, or of a form.
            query: The query as sent.
            now: Unix time in seconds.

        """
        admission = self._verified.recall(proof, now)
        return None if admission is None else self._decided(admission, query, now)

    def _decided(self, admission: Admission, query: bytes, now: float) -> Prepared | Refused | None:
        prepared = self.prepared(admission, query, now)
        if prepared is None:
            return self._refusals.denied(admission, query, now)
        # Last, because the long path would count the request again.
        if prepared.bucket is not None and (wait := prepared.bucket.take(now)) > 0:
            return self._refusals.limited(admission, wait)
        return prepared

    def recall(self, proof: bytes, now: float) -> Admission | None:
        """The caller that has this proof under the policy in force, or None for the long path. Arguments as above."""
        return self._verified.recall(proof, now)

    def prepared(self, admission: Admission, query: bytes, now: float) -> Prepared | None:
        """The decision without the rate limit: the prepared answer, or None for the long path.

        Args:
            admission: The caller, as `recall` has just returned it.
            query: The query as sent.
            now: Unix time in seconds.

        """
        taught = self._taught.queries.get((self.endpoint, admission.caller, admission.api_key_sha256, query))
        if taught is None:
            return None
        vended = taught.vended
        usable = self._vendor.take_usable(vended.key, now)
        if usable is None:
            return None
        token, seconds_left = usable
        if seconds_left < taught.min_ttl:
            return None
        if vended.decision is None or vended.decision.token_sha256 is not token.sha256:
            self._prepare_token(vended, token)
        elif seconds_left == vended.seconds_left:
            return vended.prepared
        return self._prepare(vended, token, seconds_left)

    def learn(self, admission: Admission, query: bytes, token: AccessToken, min_ttl: int = 0) -> None:
        """Prepare for the next request like this one, which the long path has just answered under the policy in force.

        Args:
            admission: The caller and its proof.
            query: The query as sent.
            token: The token in the answer.
            min_ttl: The `min_ttl` of the query, in seconds.

        """
        if len(query) > MAX_WARM_QUERY_BYTES:
            return
        self._taught.begin(self._gate.policy)
        queries = self._taught.queries
        caller, sha256 = admission.caller, admission.api_key_sha256
        place = (self.endpoint, caller, sha256, query)
        # Under one policy, a query of a caller always means the same token key.
        if place in queries:
            return
        vended = queries.vended(self.endpoint, admission, token.key)
        if vended is None:
            vended = Vended(caller.name, sha256, token.key, self._gate.bucket(caller))
            self._prepare_token(vended, token)
        queries.teach(place, vended, min_ttl)

    def learn_denied(self, facts: RequestFacts, query: bytes) -> None:
        """The same, of a request that was refused: only if the policy denied it."""
        if len(query) <= MAX_WARM_QUERY_BYTES:
            self._refusals.learn(facts, query)

    def _prepare_token(self, vended: Vended, token: AccessToken) -> None:
        vended.key = token.key  # the same object as in memory, which saves a comparison
        vended.rest = self._form.rest(token)
        vended.decision = Decision(
            endpoint=self.endpoint,
            action=Action.VEND,
            outcome=VENDED,
            caller=vended.caller,
            org=token.key.ref.org,
            credential=token.key.ref.name,
            scope=sys.intern(" ".join(token.scopes)),  # most tokens have the same
            generation=token.generation,
            # The very object, by which a new token is noticed.
            token_sha256=token.sha256,
            tier="memory",
            api_key_sha256=vended.api_key_sha256,
            is_shared=True,
        )

    def _prepare(self, vended: Vended, token: AccessToken, seconds_left: int) -> Prepared:
        assert vended.decision is not None  # noqa: S101  # made with the token
        if vended.prepared is None:
            self._taught.queries.answered(self.endpoint, vended)
        answer = self._form.answer(token, seconds_left, vended.rest)
        vended.prepared = prepared = Prepared(answer, vended.decision, token, vended.bucket)
        vended.seconds_left = seconds_left
        return prepared
