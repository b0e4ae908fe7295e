"""The warm path: a decision on a token in memory, prepared beforehand and made by one synchronous function.

Its decisions are those that the long path made under the policy in force. ``None`` always means "take the long path",
never "refused".

Rules:

1. Each endpoint has its own warm path, so no endpoint can send an answer that another one prepared.
2. A caller is recognised by exactly the bytes that proved it, until the proof expires or the policy changes.
3. A query is only a dictionary key. Only the long path parses it.
4. A request is counted against its rate limit once: here if it is answered here, otherwise by the long path.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakValueDictionary

from app.api.answers import Answer
from app.api.caller_gate import Admission, CallerGate, VerifiedCallers
from app.domain.access_token import AccessToken
from app.domain.decision import VENDED, Decision
from app.domain.names import TokenKey
from app.domain.policy import Action, Caller, Policy
from app.domain.rate_limit import TokenBucket
from app.process.fair_memory import FairMemory
from app.service.vend import TokenVendor

MAX_TAUGHT = 100_000
"""Pairs of caller and query per endpoint."""

MAX_TAUGHT_BY_ONE = 20_000
"""Pairs of one caller: the same query can be spelled in any number of ways, and one caller must not use all memory."""

MAX_WARM_QUERY_BYTES = 1024
"""Longer queries always take the long path: there are many pairs, so each must be small."""

Renderer = Callable[[AccessToken], Callable[[int], Answer]]
"""Prepares the answer of a token. It returns a function that adds the whole seconds left."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prepared answer, valid for one token and one second.

    Args:
        answer: Headers, except the request id, and body.
        decision: The decision for the event.

    """

    answer: Answer
    decision: Decision


@dataclass(slots=True, weakref_slot=True)
class _Vended:
    """What a caller may have by the decision of the long path, and the answer prepared from it."""

    caller: str
    api_key_sha256: str | None
    key: TokenKey
    bucket: TokenBucket | None
    token: AccessToken | None = None
    render: Callable[[int], Answer] | None = None
    decision: Decision | None = None
    seconds_left: int = -1
    prepared: Prepared | None = None


@dataclass(frozen=True, slots=True)
class _Taught:
    """One query of a caller. All its queries for the same token share one `_Vended`."""

    vended: _Vended
    min_ttl: int


class WarmPath:
    """Answers requests of one endpoint whose caller, query and token are known.

    Args:
        endpoint: The route, such as ``/token``.
        render: Makes the endpoint's answer from a token.
        gate: Has the policy in force, and the callers' rate limits.
        vendor: Has the tokens in memory.
        verified: Remembers the proofs of callers; by default the gate's memory of Authorization headers.
        methods: The methods that are answered, or None for all.
        limit: The number of pairs of caller and query that are kept.
        share: The number of pairs of one caller that are kept.

    """

    def __init__(
        self,
        endpoint: str,
        render: Renderer,
        gate: CallerGate,
        vendor: TokenVendor,
        *,
        verified: VerifiedCallers | None = None,
        methods: frozenset[str] | None = None,
        limit: int = MAX_TAUGHT,
        share: int = MAX_TAUGHT_BY_ONE,
    ) -> None:
        self.endpoint = endpoint
        self.methods = methods
        self._render = render
        self._gate = gate
        self._vendor = vendor
        self._verified = gate.headers if verified is None else verified
        # A caller object belongs to one policy version, so decisions under an old policy are never found again.
        self._taught = FairMemory[Caller, tuple[Caller, str | None, bytes], _Taught](limit, share)
        # The API key is part of the key, because the audit line names the one of the request.
        self._vended = WeakValueDictionary[tuple[Caller, str | None, TokenKey], _Vended]()
        self._taught_under: Policy | None = None

    def decide(self, proof: bytes, query: bytes, now: float) -> Prepared | None:
        """The prepared answer, or None for the long path. It never waits, and never raises an error.

        Args:
            proof: The bytes that prove the caller: the value of the only Authorization header, or the digest of a form.
            query: The query as sent.
            now: Unix time in seconds.

        """
        admission = self._verified.recall(proof, now)
        if admission is None:
            return None
        taught = self._taught.get((admission.caller, admission.api_key_sha256, query))
        if taught is None:
            return None
        vended = taught.vended
        token = self._vendor.take_usable(vended.key, now)
        if token is None:
            return None
        seconds_left = int(token.expires_at - now)
        if seconds_left < taught.min_ttl:
            return None
        # Last, because the long path would count the request again.
        if vended.bucket is not None and vended.bucket.take(now) > 0:
            return None
        if token is not vended.token:
            self._prepare_token(vended, token)
        elif seconds_left == vended.seconds_left:
            return vended.prepared
        return _prepare(vended, seconds_left)

    def learn(self, admission: Admission, query: bytes, key: TokenKey, min_ttl: int = 0) -> None:
        """Prepare for the next request like this one, which the long path has just answered under the policy in force.

        Args:
            admission: The caller and its proof.
            query: The query as sent.
            key: The key of the token in the answer.
            min_ttl: The `min_ttl` of the query, in seconds.

        """
        if len(query) > MAX_WARM_QUERY_BYTES:
            return
        if self._taught_under is not self._gate.policy:
            self._taught.clear()
            self._taught_under = self._gate.policy
        caller, sha256 = admission.caller, admission.api_key_sha256
        vended = self._vended.get((caller, sha256, key))
        if vended is None:
            vended = self._vended[caller, sha256, key] = _Vended(caller.name, sha256, key, self._gate.bucket(caller))
        self._taught.keep(caller, (caller, sha256, query), _Taught(vended, min_ttl))

    def _prepare_token(self, vended: _Vended, token: AccessToken) -> None:
        vended.token = token
        vended.key = token.key  # the same object as in memory, which saves a comparison
        vended.render = self._render(token)
        vended.decision = Decision(
            endpoint=self.endpoint,
            action=Action.VEND,
            outcome=VENDED,
            caller=vended.caller,
            org=token.key.ref.org,
            credential=token.key.ref.name,
            scope=" ".join(token.scopes),
            generation=token.generation,
            token_sha256=token.sha256,
            tier="memory",
            api_key_sha256=vended.api_key_sha256,
        )


def _prepare(vended: _Vended, seconds_left: int) -> Prepared:
    assert vended.render is not None and vended.decision is not None  # noqa: S101, PT018  # made with the token
    vended.seconds_left = seconds_left
    vended.prepared = Prepared(vended.render(seconds_left), vended.decision)
    return vended.prepared
