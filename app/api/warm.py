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
from collections import defaultdict, deque
from dataclasses import dataclass

from typing_extensions import override

from app.api.answers import AnswerForm
from app.api.caller_gate import Admission, CallerGate, VerifiedCallers
from app.api.facts import RequestFacts
from app.api.prepared import Prepared
from app.api.problems import problem_response
from app.api.refusal_answers import ErrorResponse
from app.api.warm_refusals import Refused, WarmRefusals
from app.domain.access_token import AccessToken
from app.domain.decision import VENDED, Decision
from app.domain.errors import CallerError
from app.domain.names import TokenKey
from app.domain.policy import Action, Caller, Policy
from app.domain.rate_limit import Bucket
from app.process.fair_memory import FairMemory
from app.service.vend import TokenVendor

MAX_TAUGHT_BYTES = 112 * 1024 * 1024
"""Memory for what callers asked for, of all endpoints."""

MAX_SPELLINGS = 16
"""Queries of one caller for one token. A query can be spelled in any number of ways, and clients use one or two."""

MAX_PREPARED = 1_000
"""Answers of one endpoint with a body, which is the same for a second. Each has a copy of its token."""

MAX_WARM_QUERY_BYTES = 1024
"""Longer queries always take the long path: there are many, so each must be small."""

QUERY_BYTES, VENDED_BYTES = 350, 450
"""Bytes of memory that a query takes, and what a caller may have, besides their text (`make bench ARGS=memory`)."""


@dataclass(slots=True)
class _Vended:
    """What a caller may have by the decision of the long path, and the answer prepared from it.

    It holds no token, and outlives many: only the answers of `MAX_PREPARED` have one.
    """

    caller: str
    api_key_sha256: str | None
    key: TokenKey
    bucket: Bucket | None
    queries: tuple[bytes, ...] = ()
    decision: Decision | None = None
    rest: str = ""
    seconds_left: int = -1
    prepared: Prepared | None = None

    def forget_answer(self) -> None:
        """Give the memory of the answer back."""
        self.seconds_left, self.prepared = -1, None


@dataclass(frozen=True, slots=True)
class _Taught:
    """One query of a caller. All its queries for the same token share one `_Vended`."""

    vended: _Vended
    min_ttl: int


_Place = tuple[str, Caller, str | None, bytes]


class WarmMemory(FairMemory[Caller, _Place, _Taught]):
    """The queries that were answered, by endpoint, caller, API key and query. All warm paths share it.

    The API key is part of the key, because the audit line names the one of the request.

    A caller object belongs to one version of the policy, so decisions under an old policy are never found again.

    Args:
        limit: Bytes. Beyond it the caller with the most loses its oldest queries.

    """

    def __init__(self, limit: int = MAX_TAUGHT_BYTES) -> None:
        super().__init__(limit)
        self._taught_under: Policy | None = None
        self._vended: dict[tuple[str, Caller, str | None, TokenKey], _Vended] = {}
        self._answered = defaultdict[str, deque[_Vended]](deque)
        """Those that have an answer, by endpoint."""

    def begin(self, policy: Policy) -> None:
        """Forget what was taught under another policy, and the answers."""
        if self._taught_under is not policy:
            self.clear()
            self._vended.clear()
            self._answered.clear()
            self._taught_under = policy

    def vended(self, endpoint: str, admission: Admission, key: TokenKey) -> _Vended | None:
        """What queries of this caller for this token share, if there are any."""
        return self._vended.get((endpoint, admission.caller, admission.api_key_sha256, key))

    def answered(self, endpoint: str, vended: _Vended) -> None:
        """An answer is about to be prepared for `vended`, which has none: the oldest one is forgotten if need be."""
        answered = self._answered[endpoint]
        answered.append(vended)
        if len(answered) > MAX_PREPARED:
            answered.popleft().forget_answer()

    def teach(self, place: _Place, vended: _Vended, min_ttl: int) -> None:
        """Add a query for `vended`, which has not more than `MAX_SPELLINGS`."""
        endpoint, caller, sha256, query = place
        for oldest in vended.queries[: 1 - MAX_SPELLINGS]:
            self.drop(caller, (endpoint, caller, sha256, oldest))
        vended.queries = (*vended.queries, query)
        self._vended[endpoint, caller, sha256, vended.key] = vended
        size = QUERY_BYTES + len(query) + VENDED_BYTES + len(vended.rest)
        self.keep(caller, place, _Taught(vended, min_ttl), size)

    @override
    def drop(self, owner: Caller, key: _Place) -> None:
        taught = self.get(key)
        super().drop(owner, key)
        if taught is not None:
            endpoint, caller, sha256, query = key
            vended = taught.vended
            vended.queries = tuple(other for other in vended.queries if other != query)
            if not vended.queries:
                del self._vended[endpoint, caller, sha256, vended.key]
                vended.forget_answer()  # It may be among those that have one for long.


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
        taught = self._taught.get((self.endpoint, admission.caller, admission.api_key_sha256, query))
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
        caller, sha256 = admission.caller, admission.api_key_sha256
        place = (self.endpoint, caller, sha256, query)
        # Under one policy, a query of a caller always means the same token key.
        if place in self._taught:
            return
        vended = self._taught.vended(self.endpoint, admission, token.key)
        if vended is None:
            vended = _Vended(caller.name, sha256, token.key, self._gate.bucket(caller))
            self._prepare_token(vended, token)
        self._taught.teach(place, vended, min_ttl)

    def learn_denied(self, facts: RequestFacts, query: bytes) -> None:
        """The same, of a request that was refused: only if the policy denied it."""
        if len(query) <= MAX_WARM_QUERY_BYTES:
            self._refusals.learn(facts, query)

    def _prepare_token(self, vended: _Vended, token: AccessToken) -> None:
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

    def _prepare(self, vended: _Vended, token: AccessToken, seconds_left: int) -> Prepared:
        assert vended.decision is not None  # noqa: S101  # made with the token
        if vended.prepared is None:
            self._taught.answered(self.endpoint, vended)
        answer = self._form.answer(token, seconds_left, vended.rest)
        vended.prepared = prepared = Prepared(answer, vended.decision, token, vended.bucket)
        vended.seconds_left = seconds_left
        return prepared
