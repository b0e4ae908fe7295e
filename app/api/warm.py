"""The warm way: the decision on a token in memory, prepared beforehand and made in one synchronous function.

It is the same decision as the long way's, which teaches it: what is kept here is what the long way found, for the
policy in force. ``None`` always means: take the long way. It never means no.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from app.api.answers import TOKEN_HEADERS, token_template
from app.api.gate import Gate
from app.api.parameters import TokenQuery
from app.domain.access_token import AccessToken
from app.domain.decision import VENDED, Decision
from app.domain.errors import BrokerError
from app.domain.identity import Identity
from app.domain.names import TokenKey
from app.domain.policy import Action, Caller, Policy, authorise
from app.domain.rate_limit import TokenBucket
from app.service.vend import TokenVendor

MAX_LANES = 100_000
MAX_LANE_QUERY_BYTES = 1024
"""Longer queries always take the long way: lanes are many, so each must be small."""

Headers = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Answer:
    """A prepared answer of ``GET /token``; good for one token and one second.

    Args:
        headers: All response headers but the request id.
        body: The JSON body.
        decision: What to tell the listeners.

    """

    headers: Headers
    body: bytes
    decision: Decision


@dataclass(slots=True)
class _Lane:
    """What is prepared for one caller and one query."""

    caller: str
    key: TokenKey
    min_ttl: int
    bucket: TokenBucket | None
    token: AccessToken | None = None
    template: tuple[bytes, bytes] = (b"", b"")
    decision: Decision | None = None
    seconds_left: int = -1
    answer: Answer | None = field(default=None)


class WarmLane:
    """Answers requests whose caller, query and token are known.

    Args:
        gate: Recalls callers.
        vendor: Has the tokens in memory.

    """

    def __init__(self, gate: Gate, vendor: TokenVendor) -> None:
        self._gate = gate
        self._vendor = vendor
        # A caller object belongs to one policy version, so a lane of an old policy is never found again.
        self._lanes: dict[tuple[Caller, bytes], _Lane] = {}
        self._learned_under: Policy | None = None

    def answer(self, authorization: bytes, raw_query: bytes, now: float) -> Answer | None:
        """The prepared answer, or None for the long way. Never awaits, never raises.

        Args:
            authorization: The one Authorization header's value.
            raw_query: The query as sent.
            now: Unix time in seconds.

        """
        caller = self._gate.recall(authorization, now)
        if caller is None:
            return None
        lane = self._lanes.get((caller, raw_query))
        if lane is None:
            return None
        token = self._vendor.ready(lane.key, now)
        if token is None:
            return None
        seconds_left = int(token.expires_at - now)
        if seconds_left < lane.min_ttl:
            return None
        # Last, because the long way counts anew: a request is counted once.
        if lane.bucket is not None and lane.bucket.take(now) > 0:
            return None
        if token is not lane.token:
            _prepare_token(lane, token)
        elif seconds_left == lane.seconds_left:
            return lane.answer
        return _prepare_answer(lane, seconds_left)

    def learn(self, authorization: bytes, raw_query: bytes, identity: Identity, query: TokenQuery) -> None:
        """Prepare for the next request like this one, which the long way has just answered."""
        try:
            caller = self._gate.resolve(identity)
            key = TokenKey(query.ref, authorise(caller, Action.VEND, query.ref, query.scopes))
        except BrokerError:
            return  # The policy changed in this very moment.
        self._gate.remember(authorization, identity, caller)
        if len(raw_query) > MAX_LANE_QUERY_BYTES:
            return
        if self._learned_under is not self._gate.policy:
            self._lanes.clear()
            self._learned_under = self._gate.policy
        if len(self._lanes) >= MAX_LANES:
            del self._lanes[next(iter(self._lanes))]
        self._lanes[caller, raw_query] = _Lane(caller.name, key, query.min_ttl, self._gate.bucket(caller))


def _prepare_token(lane: _Lane, token: AccessToken) -> None:
    lane.token = token
    lane.key = token.key  # the very object that memory looks up by, which spares a comparison
    lane.template = token_template(token)
    lane.decision = Decision(
        endpoint="/token",
        action=Action.VEND,
        outcome=VENDED,
        caller=lane.caller,
        org=token.key.ref.org,
        credential=token.key.ref.name,
        scope=" ".join(token.scopes),
        generation=token.generation,
        token_sha256=token.sha256,
        tier="memory",
    )


def _prepare_answer(lane: _Lane, seconds_left: int) -> Answer:
    assert lane.decision is not None  # noqa: S101  # made with the token
    head, tail = lane.template
    body = b"%b%d%b" % (head, seconds_left, tail)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    headers += [(name.encode(), value.encode()) for name, value in TOKEN_HEADERS.items()]
    lane.seconds_left = seconds_left
    lane.answer = Answer(headers, body, lane.decision)
    return lane.answer
