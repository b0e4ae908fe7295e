"""One request from start to end: its deadline, its errors, and exactly one event however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.api.caller_gate import Admission, CallerGate
from app.api.facts import RequestFacts, caller_refused
from app.api.first_end import is_malformed, note_decided
from app.api.limits import Limits
from app.api.parameters import parse_token_query
from app.api.problems import problem_response
from app.api.refusal_answers import ErrorResponse
from app.api.warm import WarmPath
from app.domain.access_token import AccessToken
from app.domain.authorisation import authorise
from app.domain.decision import DONE, VENDED, Decision
from app.domain.dependency_errors import OverloadedError
from app.domain.errors import BrokerError, ForbiddenError, InvalidRequestError
from app.domain.events import RequestDecided
from app.domain.names import Scope, TokenKey
from app.domain.policy import Action
from app.ports import Clock, RequestSink
from app.service.need import Obtained
from app.service.vend import TokenVendor

Handler = Callable[[Request, RequestFacts], Awaitable[Response]]


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
        sink: RequestSink,
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
        state, request_id = request.scope["state"], request_id_of(request)
        try:
            async with asyncio.timeout(self._limits.request_seconds):
                response = await handler(request, facts)
            # A purge was carried out: its event says by whom, although the client got 400.
            if is_malformed(state) and facts.action is not Action.PURGE:
                raise _malformed_body()
        except TimeoutError:
            return self._refused(request, facts, OverloadedError("The request took too long."), refuse)
        except ClientDisconnect:
            # The client is gone, but this exit is reported like any other.
            return self._refused(request, facts, InvalidRequestError("The body did not arrive."), refuse)
        except BrokerError as error:
            return self._refused(request, facts, error, refuse)
        except Exception:
            facts.token = facts.tier = None
            code = InvalidRequestError.code if is_malformed(state) else BrokerError.code
            note_decided(state)
            self._emit(facts.decided(code), request_id)
            raise  # The app answers it, and `Door` logs it.
        note_decided(state)
        self._emit(facts.prepared or facts.decided(VENDED if facts.token is not None else DONE), request_id)
        return response

    async def admit(self, request: Request, facts: RequestFacts) -> None:
        """Authenticate the caller by its Authorization header and count the request against its limit.

        Raises:
            CallerError: It is not admitted.
            IdentityUnavailableError: The issuer's keys are unavailable.

        """
        await self.prove(request, facts)
        self.gate.count(facts.caller)

    async def prove(self, request: Request, facts: RequestFacts) -> None:
        """Authenticate the caller by its Authorization header. Raises as `admit`, but does not count the request."""
        facts.admission = await self.gate.admit(request_headers(request, b"authorization"), address_of(request))

    def enter(self, admission: Admission, facts: RequestFacts) -> None:
        """Admit a proven caller, and count the request against its limit.

        Raises:
            RateLimitedError: It is over its limit.

        """
        facts.admission = admission
        self.gate.count(admission.caller)

    def item_deadline(self) -> float:
        """When the items of a batch that begins now must have ended, by the clock of the event loop."""
        return asyncio.get_running_loop().time() + self._limits.item_seconds

    async def item(self, work: Callable[[], Awaitable[AccessToken]], deadline: float) -> AccessToken | BrokerError:
        """The token of one item of a batch, or its error. It has its own deadline; `report_item` reports it."""
        try:
            async with asyncio.timeout_at(deadline):
                return await work()
        except TimeoutError:
            return OverloadedError("The request took too long.")
        except BrokerError as error:
            return error

    def report_item(self, facts: RequestFacts, error: BrokerError | None, request_id: str) -> None:
        """Emit the event of an item of a batch: it ended with `error`, or with a token."""
        if error is not None:
            self._note_refused(facts, error, request_id)
        else:
            self._emit(facts.prepared or facts.decided(VENDED), request_id)

    def report_warm(self, decisions: Iterable[Decision], request_id: str) -> None:
        """Emit the events of the items of a batch that waited for nothing."""
        now = self.clock()
        self._sink.emit_granted([RequestDecided(now, request_id, decision) for decision in decisions])

    async def vended(self, request: Request, facts: RequestFacts, warm: WarmPath) -> AccessToken:
        """The token that the Authorization header and the query ask for. It prepares `warm` for the next such request.

        Raises:
            BrokerError: The caller may not have it, or it is unavailable.

        """
        await self.admit(request, facts)
        raw = request.scope["query_string"]
        query = parse_token_query(raw)
        facts.ref = query.ref
        try:
            token = await self.obtain(
                facts, Action.VEND, query.scopes, lambda key: self.vendor.vend(key, query.min_ttl)
            )
        except ForbiddenError:
            warm.learn_denied(facts, raw)
            raise
        warm.learn(facts.admitted, raw, token, query.min_ttl)
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
        try:
            return TokenKey(facts.ref, authorise(facts.caller, action, facts.ref, scopes))
        except ForbiddenError as denied:
            facts.denied = denied
            raise

    def _refused(self, request: Request, facts: RequestFacts, error: BrokerError, refuse: ErrorResponse) -> Response:
        state, request_id = request.scope["state"], request_id_of(request)
        answered = _malformed_body() if is_malformed(state) else error
        note_decided(state)
        self._note_refused(facts, answered, request_id)
        return refuse(answered, request_id)

    def _note_refused(self, facts: RequestFacts, error: BrokerError, request_id: str) -> None:
        facts.token = facts.tier = None
        event = caller_refused(error, facts.endpoint, self.clock())
        if event is not None:
            self._sink.emit(event)
        self._emit(facts.refused(error), request_id)

    def _emit(self, decision: Decision, request_id: str) -> None:
        self._sink.emit(RequestDecided(self.clock(), request_id, decision))


def _malformed_body() -> InvalidRequestError:
    """The error that the connection has answered with."""
    return InvalidRequestError("The body is malformed.")


def request_id_of(request: Request) -> str:
    """The id that `Door` gave the request."""
    value: str = request.scope["state"]["request_id"]
    return value


def address_of(request: Request) -> str:
    """The IP address at the other end of the connection."""
    return "" if request.client is None else request.client.host


def request_headers(request: Request, name: bytes) -> tuple[bytes, ...]:
    """All values of a header, in order, as raw bytes."""
    return tuple(value for key, value in request.scope["headers"] if key == name)
