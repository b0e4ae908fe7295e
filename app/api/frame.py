"""One request from start to end: its deadline, its errors, and exactly one event however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.api.caller_gate import Admission, CallerGate
from app.api.limits import Limits
from app.api.parameters import parse_token_query
from app.api.problems import problem_response
from app.api.warm import WarmPath
from app.domain.access_token import AccessToken
from app.domain.authorisation import authorise
from app.domain.decision import DONE, VENDED, Decision, Tier
from app.domain.dependency_errors import OverloadedError
from app.domain.errors import (
    BrokerError,
    CallerError,
    ForbiddenError,
    InvalidRequestError,
    UnauthenticatedError,
    UnknownCallerError,
)
from app.domain.events import CallerRefused, RequestDecided
from app.domain.names import CredentialRef, Scope, TokenKey
from app.domain.policy import Action, Caller
from app.domain.refusal_reason import RefusalReason
from app.ports import Clock, EventSink
from app.service.shared_exchange import Obtained
from app.service.vend import TokenVendor


@dataclass(slots=True)
class RequestFacts:
    """The facts about a request: filled in during the request, reported at its end."""

    endpoint: str
    action: str
    admission: Admission | None = None
    ref: CredentialRef | None = None
    token: AccessToken | None = None
    tier: Tier | None = None
    prepared: Decision | None = None

    @property
    def admitted(self) -> Admission:
        """The caller with its proof, once it has been admitted."""
        assert self.admission is not None  # noqa: S101  # admit() ran
        return self.admission

    @property
    def caller(self) -> Caller:
        """The caller, once it has been admitted."""
        return self.admitted.caller

    def decided(self, outcome: str, reason: RefusalReason | None = None, audit_rule: str | None = None) -> Decision:
        """These facts as an event's decision.

        Args:
            outcome: What was answered, as in the audit log.
            reason: Why the caller credential was refused, or None.
            audit_rule: The rule with ``mode: audit`` that would have allowed it, or None.

        """
        token = self.token
        return Decision(
            endpoint=self.endpoint,
            action=self.action,
            outcome=outcome,
            caller=None if self.admission is None else self.admission.caller.name,
            org=None if self.ref is None else self.ref.org,
            credential=None if self.ref is None else self.ref.name,
            scope=None if token is None else " ".join(token.scopes),
            generation=None if token is None else token.generation,
            token_sha256=None if token is None else token.sha256,
            tier=self.tier,
            reason=reason,
            audit_rule=audit_rule,
            api_key_sha256=None if self.admission is None else self.admission.api_key_sha256,
        )


Handler = Callable[[Request, RequestFacts], Awaitable[Response]]
ErrorResponse = Callable[[BrokerError, str], Response]


class RequestFrame:
    """The frame around each request, which all endpoints share.

    Args:
        gate: Authenticates callers.
        vendor: Vends tokens.
        sink: Listens to events.
        clock: Unix time in seconds.
        limits: The deadline of a request, and how often the policy may change during it.

    """

    def __init__(
        self,
        gate: CallerGate,
        vendor: TokenVendor,
        sink: EventSink,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self.gate = gate
        self.vendor = vendor
        self.clock = clock
        self._sink = sink
        self._limits = limits

    def around(
        self, endpoint: str, action: Action, handler: Handler, refuse: ErrorResponse = problem_response
    ) -> Callable[[Request], Awaitable[Response]]:
        """A route's function: runs `handler` within the deadline, and emits one event however it ends.

        Args:
            endpoint: The route, such as ``/token``.
            action: The action of the caller.
            handler: Makes the answer, and notes facts about the request.
            refuse: Makes an answer from an error and the request id.

        """

        async def answer(request: Request) -> Response:
            return await self._run(request, RequestFacts(endpoint, action), handler, refuse)

        return answer

    async def _run(self, request: Request, facts: RequestFacts, handler: Handler, refuse: ErrorResponse) -> Response:
        request_id = request_id_of(request)
        try:
            async with asyncio.timeout(self._limits.request_seconds):
                response = await handler(request, facts)
        except TimeoutError:
            return self._refused(facts, OverloadedError("The request took too long."), request_id, refuse)
        except ClientDisconnect:
            # The client is gone, but this exit is reported like any other.
            return self._refused(facts, InvalidRequestError("The body did not arrive."), request_id, refuse)
        except BrokerError as error:
            return self._refused(facts, error, request_id, refuse)
        except Exception:
            facts.token = facts.tier = None
            self._emit(facts.decided(BrokerError.code), request_id)
            raise  # The app answers it, and `Door` logs it.
        self._emit(facts.prepared or facts.decided(VENDED if facts.token is not None else DONE), request_id)
        return response

    async def admit(self, request: Request, facts: RequestFacts) -> None:
        """Authenticate the caller by its Authorization header and count the request against its limit.

        Raises:
            CallerError: It is not admitted.
            IdentityUnavailableError: The issuer's keys are unavailable.

        """
        self.enter(await self.gate.admit(request_headers(request, b"authorization")), facts)

    def enter(self, admission: Admission, facts: RequestFacts) -> None:
        """Admit a proven caller, and count the request against its limit.

        Raises:
            RateLimitedError: It is over its limit.

        """
        facts.admission = admission
        self.gate.count(admission.caller)

    async def vended(self, request: Request, facts: RequestFacts, warm: WarmPath) -> AccessToken:
        """The token that the Authorization header and the query ask for. It prepares `warm` for the next such request.

        Raises:
            BrokerError: The caller may not have it, or it is unavailable.

        """
        await self.admit(request, facts)
        raw = request.scope["query_string"]
        query = parse_token_query(raw)
        facts.ref = query.ref
        token = await self.obtain(facts, Action.VEND, query.scopes, lambda key: self.vendor.vend(key, query.min_ttl))
        warm.learn(facts.admitted, raw, token.key, query.min_ttl)
        return token

    async def obtain(
        self,
        facts: RequestFacts,
        action: Action,
        scopes: tuple[Scope, ...] | None,
        how: Callable[[TokenKey], Awaitable[Obtained]],
    ) -> AccessToken:
        """Authorise, obtain a token by `how`, and authorise again if the policy has changed since.

        Raises:
            BrokerError: The caller may not have it, or it is unavailable.

        """
        key = self._entitlement(facts, action, scopes)
        for _ in range(self._limits.policy_changes):
            under = self.gate.policy
            obtained = await how(key)
            entitled = key if self.gate.policy is under else self._entitlement(facts, action, scopes)
            if entitled == key:
                facts.token, facts.tier = obtained.token, obtained.tier
                return obtained.token
            key = entitled
        raise ForbiddenError

    def _entitlement(self, facts: RequestFacts, action: Action, scopes: tuple[Scope, ...] | None) -> TokenKey:
        """The key of the token that the caller may have under the policy in force."""
        assert facts.ref is not None  # noqa: S101  # the parser ran
        facts.admission = self.gate.renewed(facts.admitted)
        return TokenKey(facts.ref, authorise(facts.caller, action, facts.ref, scopes))

    def _refused(self, facts: RequestFacts, error: BrokerError, request_id: str, refuse: ErrorResponse) -> Response:
        facts.token = facts.tier = None
        reason = None
        if isinstance(error, UnauthenticatedError | UnknownCallerError):
            reason = error.reason
            self._sink.emit(_caller_refused(error, facts.endpoint, self.clock()))
        audit_rule = error.audit_rule if isinstance(error, CallerError) else None
        self._emit(facts.decided(error.code, reason, audit_rule), request_id)
        return refuse(error, request_id)

    def _emit(self, decision: Decision, request_id: str) -> None:
        self._sink.emit(RequestDecided(self.clock(), request_id, decision))


def _caller_refused(error: UnauthenticatedError | UnknownCallerError, endpoint: str, now: float) -> CallerRefused:
    signed_for = error.signed_for
    if signed_for is None:
        return CallerRefused(now, endpoint, error.reason)
    callers = error.callers or None if isinstance(error, UnknownCallerError) else None
    return CallerRefused(now, endpoint, error.reason, signed_for.issuer, signed_for.subject, callers)


def request_id_of(request: Request) -> str:
    """The id that `Door` gave the request."""
    value: str = request.scope["state"]["request_id"]
    return value


def request_headers(request: Request, name: bytes) -> tuple[bytes, ...]:
    """All values of a header, in order, as raw bytes."""
    return tuple(value for key, value in request.scope["headers"] if key == name)
