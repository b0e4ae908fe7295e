"""The outermost ASGI app: request ids, limits on bodies and on waiting requests, and answers from the warm path."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.app import Api
from app.api.first_end import is_malformed, note_decided, state_of
from app.api.health import OPERATOR_PATHS
from app.api.limits import Limits
from app.api.problems import problem_response, unexpected_response
from app.api.warm_head import WarmHead
from app.domain.decision import Decision
from app.domain.dependency_errors import OverloadedError
from app.domain.errors import InvalidRequestError
from app.domain.events import RequestDecided
from app.ports import Clock, EventSink
from app.process.correlation import REQUEST_ID

_OVERLOADED = Decision(endpoint="*", action=None, outcome=OverloadedError.code, is_shared=True)
_MALFORMED = Decision(endpoint="*", action=None, outcome=InvalidRequestError.code, is_shared=True)

log = logging.getLogger(__name__)


def reporter_of_malformed(sink: EventSink, clock: Clock) -> Callable[[str], None]:
    """Emits an event for input that was never a valid HTTP request, by the id that it was answered with."""
    return lambda request_id: sink.emit(RequestDecided(clock(), request_id, _MALFORMED))


class Door:
    """The ASGI app.

    Args:
        api: The API, which answers.
        sink: Listens to events.
        clock: Unix time in seconds.
        new_id: Makes a request id.
        audit_is_full: See `Services`.

    """

    def __init__(
        self,
        api: Api,
        sink: EventSink,
        clock: Clock,
        new_id: Callable[[], str],
        audit_is_full: Callable[[], bool],
    ) -> None:
        self._inner: ASGIApp = api.app
        self._refusals = api.refusals
        self._emit = sink.emit
        self._clock = clock
        self._audit_is_full = audit_is_full
        self.warm = WarmHead(api.warm, api.warm_bodies, sink, clock, new_id, audit_is_full)
        """Answers what needs only the head of a request; asked by the connection, for bodies as well."""
        self._limits = api.limits
        self.waiting = 0
        """Requests on the long path that have no answer yet, without those that wait for their body."""
        self._bodies: dict[asyncio.Timeout, None] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass the lifespan on."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        state = state_of(scope)
        if is_malformed(state):
            return  # The connection has answered it.
        authorizations, request_id = self.warm.identify(scope["headers"])
        path, query, client = scope["path"], scope["query_string"], scope.get("client")
        address = "" if client is None else client[0]
        answer = self.warm.answer(scope["method"], path, query, authorizations, address, request_id)
        if answer is not None:
            note_decided(state)
            headers = [*answer.headers, (b"x-request-id", request_id)]
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            await send({"type": "http.response.body", "body": answer.body})
            return
        await self._long_path(scope, receive, send, request_id)

    async def _long_path(self, scope: Scope, receive: Receive, send: Send, request_id: bytes) -> None:
        place = _Place(self)
        identified = _Identified(send, request_id, place.give_back)
        state = scope["state"]
        state["request_id"] = request_id.decode()
        REQUEST_ID.set(request_id.decode())  # for this request's task, and the tasks that it starts
        overloaded = self._overloaded()
        if overloaded is not None and scope["path"] not in OPERATOR_PATHS:
            note_decided(state)
            self._emit(RequestDecided(self._clock(), request_id.decode(), _OVERLOADED))
            refuse = self._refusals.get(scope["path"], problem_response)
            await refuse(overloaded, request_id.decode())(scope, receive, identified)
            return
        place.take()
        try:
            await self._inner(scope, _Capped(receive, self._body_awaited, self._limits), identified)
        except Exception as error:  # the last resort: a constant answer, without any part of the error
            log.error("unexpected error", extra={"request_id": request_id.decode()}, exc_info=error)
            if not identified.started:
                await unexpected_response(request_id.decode())(scope, receive, identified)
        finally:
            place.give_back()

    def _overloaded(self) -> OverloadedError | None:
        """The error of a request that there is no room for, or None."""
        if self._audit_is_full():
            return OverloadedError("The broker cannot write its audit log.")
        return OverloadedError() if self.waiting >= self._limits.waiting else None

    @contextmanager
    def _body_awaited(self, limit: asyncio.Timeout) -> Iterator[None]:
        if len(self._bodies) >= self._limits.bodies:
            # The oldest one is cancelled, because an honest body arrives within milliseconds.
            longest = next(iter(self._bodies))
            del self._bodies[longest]
            longest.reschedule(0.0)
        self._bodies[limit] = None
        self.waiting -= 1
        try:
            yield
        finally:
            self._bodies.pop(limit, None)
            self.waiting += 1


class _Place:
    """One of the places of waiting requests."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._taken = False

    def take(self) -> None:
        """Take it."""
        self._taken = True
        self._door.waiting += 1

    def give_back(self) -> None:
        """Give it back, once."""
        if self._taken:
            self._taken = False
            self._door.waiting -= 1


class _Identified:
    """A `send` that adds the request id to every answer.

    Args:
        send: Sends a message to the client.
        request_id: The id.
        answered: Called when the answer begins: from then on only the client can keep the request waiting.

    """

    def __init__(self, send: Send, request_id: bytes, answered: Callable[[], None]) -> None:
        self._send = send
        self._request_id = request_id
        self._answered = answered
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self._answered()
            headers = [*message.get("headers", ()), (b"x-request-id", self._request_id)]
            message = {**message, "headers": headers}
        await self._send(message)


class _Capped:
    """A `receive` that refuses a body that is too large or too slow."""

    def __init__(
        self, receive: Receive, awaited: Callable[[asyncio.Timeout], AbstractContextManager[None]], limits: Limits
    ) -> None:
        self._receive = receive
        self._awaited = awaited
        self._until = asyncio.get_running_loop().time() + limits.body_seconds
        self._most_bytes = limits.body_bytes
        self._bytes = 0
        self._complete = False

    async def __call__(self) -> Message:
        if self._complete:
            return await self._receive()  # Waits for the disconnect.
        try:
            async with asyncio.timeout_at(self._until) as limit:
                with self._awaited(limit):
                    message = await self._receive()
        except TimeoutError:
            raise InvalidRequestError("The body did not arrive in time.") from None
        self._bytes += len(message.get("body", b""))
        if self._bytes > self._most_bytes:
            raise InvalidRequestError("The body is too large.")
        self._complete = not message.get("more_body", False)
        return message
