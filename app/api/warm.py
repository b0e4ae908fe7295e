"""The warm path: a decision on a token in memory, prepared beforehand and made by one synchronous function.

It is the same decision as that of the long path, which fills it: what is kept here is what the long path decided
under the policy in force. ``None`` always means: take the long path. It never means no.

Rules:

1. An endpoint has a warm path of its own, so no endpoint can answer with what another one prepared.
2. A caller is recalled by the very bytes that proved it, never for longer than the proof or the policy version lasts.
3. A query is a dictionary key and nothing else. Only the long path parses one.
4. A request is counted against its rate limit once: here if it is answered here, else by the long path.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.api.answers import Answer
from app.api.caller_gate import CallerGate, VerifiedCallers
from app.domain.access_token import AccessToken
from app.domain.decision import VENDED, Decision
from app.domain.names import TokenKey
from app.domain.policy import Action, Caller, Policy
from app.domain.rate_limit import TokenBucket
from app.service.vend import TokenVendor

MAX_TAUGHT = 100_000
"""Pairs of caller and query per endpoint."""

MAX_QUERY_BYTES = 1024
"""Longer queries always take the long path: pairs are many, so each must be small."""

Renderer = Callable[[AccessToken], Callable[[int], Answer]]
"""Prepares a token's answer; what it returns completes it with the whole seconds left."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prepared answer, good for one token and one second.

    Args:
        answer: Headers, except the request id, and body.
        decision: What to report to the listeners.

    """

    answer: Answer
    decision: Decision


@dataclass(slots=True)
class _Taught:
    """What the long path decided for one caller and one query, and what has been prepared from it."""

    caller: str
    key: TokenKey
    min_ttl: int
    bucket: TokenBucket | None
    token: AccessToken | None = None
    render: Callable[[int], Answer] | None = None
    decision: Decision | None = None
    seconds_left: int = -1
    prepared: Prepared | None = None


class WarmPath:
    """Answers requests of one endpoint whose caller, query and token are known.

    Args:
        endpoint: The route, such as ``/token``.
        render: Makes the endpoint's answer from a token.
        gate: Knows the policy in force, and the callers' rate limits.
        vendor: Has the tokens in memory.
        verified: Recalls callers by what proved them; by default the gate's memory of Authorization headers.
        method: The only method that is answered, or None for all.
        limit: How many pairs of caller and query are kept; the oldest is forgotten for a new one.

    """

    def __init__(
        self,
        endpoint: str,
        render: Renderer,
        gate: CallerGate,
        vendor: TokenVendor,
        *,
        verified: VerifiedCallers | None = None,
        method: str | None = None,
        limit: int = MAX_TAUGHT,
    ) -> None:
        self.endpoint = endpoint
        self.method = method
        self._render = render
        self._gate = gate
        self._vendor = vendor
        self._verified = gate.headers if verified is None else verified
        self._limit = limit
        # A caller object belongs to one policy version, so what an old policy taught is never found again.
        self._taught: dict[tuple[Caller, bytes], _Taught] = {}
        self._taught_under: Policy | None = None

    def decide(self, proof: bytes, query: bytes, now: float) -> Prepared | None:
        """The prepared answer, or None for the long path. Never awaits, never raises.

        Args:
            proof: The bytes that prove the caller: the one Authorization header's value, or the digest of a form.
            query: The query as sent.
            now: Unix time in seconds.

        """
        admission = self._verified.recall(proof, now)
        if admission is None:
            return None
        taught = self._taught.get((admission.caller, query))
        if taught is None:
            return None
        token = self._vendor.take_usable(taught.key, now)
        if token is None:
            return None
        seconds_left = int(token.expires_at - now)
        if seconds_left < taught.min_ttl:
            return None
        # Last, because the long path counts again: a request is counted once.
        if taught.bucket is not None and taught.bucket.take(now) > 0:
            return None
        if token is not taught.token:
            self._prepare_token(taught, token)
        elif seconds_left == taught.seconds_left:
            return taught.prepared
        return _prepare(taught, seconds_left)

    def learn(self, caller: Caller, query: bytes, key: TokenKey, min_ttl: int = 0) -> None:
        """Prepare for the next request like this one, which the long path has just answered under the policy in force.

        Args:
            caller: Who asked.
            query: The query as sent.
            key: Of the token that was answered.
            min_ttl: Seconds of life that the query asks for.

        """
        if len(query) > MAX_QUERY_BYTES:
            return
        if self._taught_under is not self._gate.policy:
            self._taught.clear()
            self._taught_under = self._gate.policy
        self._taught.pop((caller, query), None)  # So that it becomes the newest.
        if len(self._taught) >= self._limit:
            del self._taught[next(iter(self._taught))]
        self._taught[caller, query] = _Taught(caller.name, key, min_ttl, self._gate.bucket(caller))

    def _prepare_token(self, taught: _Taught, token: AccessToken) -> None:
        taught.token = token
        taught.key = token.key  # the very object that memory looks up by, which saves a comparison
        taught.render = self._render(token)
        taught.decision = Decision(
            endpoint=self.endpoint,
            action=Action.VEND,
            outcome=VENDED,
            caller=taught.caller,
            org=token.key.ref.org,
            credential=token.key.ref.name,
            scope=" ".join(token.scopes),
            generation=token.generation,
            token_sha256=token.sha256,
            tier="memory",
        )


def _prepare(taught: _Taught, seconds_left: int) -> Prepared:
    assert taught.render is not None and taught.decision is not None  # noqa: S101, PT018  # made with the token
    taught.seconds_left = seconds_left
    taught.prepared = Prepared(taught.render(seconds_left), taught.decision)
    return taught.prepared
