"""One request, from start to end: its deadline, its errors, and the one event that every exit emits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.api.gate import Gate
from app.api.problems import problem_response
from app.domain.access_token import AccessToken
from app.domain.decision import DONE, VENDED, Decision, Tier
from app.domain.errors import BrokerError, ForbiddenError, InvalidRequestError, OverloadedError
from app.domain.events import RequestDecided
from app.domain.identity import Identity
from app.domain.names import CredentialRef, Scope, TokenKey
from app.domain.policy import Action, Caller, authorise
from app.ports import Clock, EventSink
from app.service.shared_exchange import Obtained
from app.service.vend import TokenVendor

REQUEST_SECONDS = 14.8
"""No request waits longer than 15 s, whatever hangs (product section 9); the rest is for the answer itself."""

MAX_CHANGES = 5
"""How often the policy may change what a waiting request is entitled to, before it is told no."""


@dataclass(slots=True)
class Conversation:
    """What has become known of a request so far; filled in along the way, told at the end."""

    endpoint: str
    action: str
    caller: Caller | None = None
    ref: CredentialRef | None = None
    token: AccessToken | None = None
    tier: Tier | None = None

    def decided(self, outcome: str) -> Decision:
        """The conversation as an event's decision."""
        token = self.token
        return Decision(
            endpoint=self.endpoint,
            action=self.action,
            outcome=outcome,
            caller=None if self.caller is None else self.caller.name,
            org=None if self.ref is None else self.ref.org,
            credential=None if self.ref is None else self.ref.name,
            scope=None if token is None else " ".join(token.scopes),
            generation=None if token is None else token.generation,
            token_sha256=None if token is None else token.sha256,
            tier=self.tier,
        )


Work = Callable[[Conversation], Awaitable[Response]]
ErrorResponse = Callable[[BrokerError, str], Response]


class Endpoint:
    """What all endpoints share.

    Args:
        gate: Authenticates callers.
        vendor: Vends tokens.
        sink: Listens to events.
        clock: Unix time in seconds.

    """

    def __init__(self, gate: Gate, vendor: TokenVendor, sink: EventSink, clock: Clock) -> None:
        self.gate = gate
        self.vendor = vendor
        self.clock = clock
        self._sink = sink

    async def run(
        self, request: Request, talk: Conversation, work: Work, refuse: ErrorResponse = problem_response
    ) -> Response:
        """Do `work` within the deadline; a refusal becomes an answer by `refuse`."""
        request_id = request_id_of(request)
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                response = await work(talk)
        except TimeoutError:
            return self._refused(talk, OverloadedError("The request took too long."), request_id, refuse)
        except ClientDisconnect:
            # Nobody is there to read the answer, but the exit is told like any other.
            return self._refused(talk, InvalidRequestError("The body did not arrive."), request_id, refuse)
        except BrokerError as error:
            return self._refused(talk, error, request_id, refuse)
        except Exception:
            talk.token = talk.tier = None
            self._emit(talk, BrokerError.code, request_id)
            raise  # The app answers it, the door logs it.
        self._emit(talk, VENDED if talk.token is not None else DONE, request_id)
        return response

    async def admit(self, request: Request, talk: Conversation) -> Identity:
        """Authenticate the caller by its Authorization header and count the request against its limit.

        Raises:
            CallerError: It is not admitted.
            IdentityUnavailableError: The issuer's keys cannot be had.

        """
        identity = await self.gate.authenticate(request_headers(request, b"authorization"))
        self.enter(identity, talk)
        return identity

    def enter(self, identity: Identity, talk: Conversation) -> Caller:
        """Let a proven identity in: find its caller, and count the request against its limit.

        Raises:
            CallerError: It is not admitted.

        """
        caller = talk.caller = self.gate.resolve(identity)
        self.gate.count(caller)
        return caller

    async def obtain(
        self,
        talk: Conversation,
        identity: Identity,
        action: Action,
        scopes: tuple[Scope, ...] | None,
        how: Callable[[TokenKey], Awaitable[Obtained]],
    ) -> AccessToken:
        """Authorise, obtain a token by `how`, and begin anew where the policy has changed the decision meanwhile.

        Raises:
            BrokerError: The caller may not have it, or it cannot be had.

        """
        assert talk.caller is not None and talk.ref is not None  # noqa: S101, PT018  # admit() and the parser ran
        key = TokenKey(talk.ref, authorise(talk.caller, action, talk.ref, scopes))
        for _ in range(MAX_CHANGES):
            obtained = await how(key)
            talk.caller = self.gate.resolve(identity)
            entitled = TokenKey(talk.ref, authorise(talk.caller, action, talk.ref, scopes))
            if entitled == key:
                talk.token, talk.tier = obtained.token, obtained.tier
                return obtained.token
            key = entitled
        raise ForbiddenError

    def _refused(self, talk: Conversation, error: BrokerError, request_id: str, refuse: ErrorResponse) -> Response:
        talk.token = talk.tier = None
        self._emit(talk, error.code, request_id)
        return refuse(error, request_id)

    def _emit(self, talk: Conversation, outcome: str, request_id: str) -> None:
        self._sink.emit(RequestDecided(self.clock(), request_id, talk.decided(outcome)))


def request_id_of(request: Request) -> str:
    """The id that the door gave the request."""
    value: str = request.scope["state"]["request_id"]
    return value


def request_headers(request: Request, name: bytes) -> tuple[bytes, ...]:
    """All values of a header, in order, as raw bytes."""
    return tuple(value for key, value in request.scope["headers"] if key == name)
