"""The warm paths, as the door and the connection use them: from the head of a request, or from its body, too."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from app.api.answers import Answer
from app.api.facts import caller_refused
from app.api.prepared import Prepared
from app.api.warm import WarmPath
from app.api.warm_refusals import Refused
from app.domain.decision import Decision
from app.domain.events import RequestDecided
from app.ports import Clock, EventSink
from app.process.correlation import REQUEST_ID

Headers = Iterable[tuple[bytes, bytes]]
"""Names in lower case."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class BodyHead(Protocol):
    """The head of a request with a body that may be answered at once."""

    def decide(self, body: bytes, request_id: str, now: float) -> tuple[Answer, Decision] | None:
        """The answer and the decision for the event of the request; or None for the long path. It never waits.

        Args:
            body: The whole body.
            request_id: The id of the request.
            now: Unix time in seconds.

        """
        ...


class WarmBody(Protocol):
    """The warm path of an endpoint that needs the body, too."""

    def head(self, query: bytes, headers: Headers) -> BodyHead | None:
        """The head of a POST, if its body may be answered at once; else None.

        Args:
            query: The query as sent.
            headers: The headers.

        """
        ...


class WarmHead:
    """Answers a request from its head, or with its body, and emits its event.

    Args:
        paths: The warm paths of endpoints that need only the head, by URL path.
        bodies: The warm paths of endpoints that need the body, too, by URL path.
        sink: Receives the events.
        clock: Unix time in seconds.
        new_id: Creates a request id.
        audit_is_full: As in `app.api.app.Services`.

    """

    def __init__(
        self,
        paths: Mapping[str, WarmPath],
        bodies: Mapping[str, WarmBody],
        sink: EventSink,
        clock: Clock,
        new_id: Callable[[], str],
        audit_is_full: Callable[[], bool],
    ) -> None:
        self._paths = paths
        self._gets = {
            path.encode(): warm for path, warm in paths.items() if warm.methods is None or "GET" in warm.methods
        }
        self._bodies = {path.encode(): warm for path, warm in bodies.items()}
        self._emit = sink.emit
        self._clock = clock
        self._new_id = new_id
        self._audit_is_full = audit_is_full

    def identify(self, headers: Headers) -> tuple[tuple[bytes, ...], bytes]:
        """The Authorization headers, and the request id: the caller's own if valid, or a new one.

        Args:
            headers: The headers, names in lower case.

        """
        authorizations: tuple[bytes, ...] = ()
        request_id: bytes | None = None
        for name, value in headers:
            if name == b"authorization":
                authorizations += (value,)
            elif name == b"x-request-id":
                request_id = value
        if request_id is None or _REQUEST_ID.fullmatch(request_id) is None:
            request_id = self._new_id().encode()
        return authorizations, request_id

    def answer(
        self,
        method: str,
        path: str,
        query: bytes,
        authorizations: tuple[bytes, ...],
        address: str,
        request_id: bytes,
    ) -> Answer | None:
        """The answer, or None for the long path. With an answer, the request's events have been emitted.

        Args:
            method: The method.
            path: The path, decoded.
            query: The query as sent.
            authorizations: As `identify` returned them.
            address: The IP address at the other end of the connection.
            request_id: As `identify` returned it.

        """
        warm = self._paths.get(path)
        if warm is None or (warm.methods is not None and method not in warm.methods) or self._audit_is_full():
            return None
        now = self._clock()
        return self._answer(warm.decide_head(authorizations, query, address, now), request_id.decode(), now)

    def answer_get(self, target: bytes, proof: bytes) -> tuple[Answer, str] | None:
        """The same for a GET without an `X-Request-Id`: the answer and a new request id, or None.

        Args:
            target: The target as sent. Any bytes: nothing was decided on an unknown target.
            proof: `proof_of` the only Authorization header.

        """
        path, _, query = target.partition(b"?")
        warm = self._gets.get(path)
        if warm is None:
            return None
        if self._audit_is_full():
            return None
        now, request_id = self._clock(), self._new_id()
        answer = self._answer(warm.decide(proof, query, now), request_id, now)
        return None if answer is None else (answer, request_id)

    def body_head(self, target: bytes, headers: Headers) -> BodyHead | None:
        """The head of a POST, if its endpoint has a warm path that needs the body, too; else None.

        Args:
            target: The target as sent.
            headers: The headers.

        """
        path, _, query = target.partition(b"?")
        warm = self._bodies.get(path)
        return None if warm is None else warm.head(query, headers)

    def answer_body(self, head: BodyHead, body: bytes) -> tuple[Answer, str] | None:
        """The answer to a POST without an `X-Request-Id`, and a new request id; or None for the long path.

        Args:
            head: Its head.
            body: Its body.

        """
        if self._audit_is_full():
            return None
        now, request_id = self._clock(), self._new_id()
        decided = head.decide(body, request_id, now)
        if decided is None:
            return None
        answer, decision = decided
        self._emit(RequestDecided(now, request_id, decision))
        return answer, request_id

    def _answer(self, decided: Prepared | Refused | None, request_id: str, now: float) -> Answer | None:
        if decided is None:
            return None
        if isinstance(decided, Refused):
            self._report(decided, request_id, now)
            self._emit(RequestDecided(now, request_id, decided.decision))
            return decided.answer_to(request_id)
        self._emit(RequestDecided(now, request_id, decided.decision))
        return decided.answer

    def _report(self, refused: Refused, request_id: str, now: float) -> None:
        event = caller_refused(refused.error, refused.decision.endpoint, now)
        if event is not None:
            # No task has it here, and the log's line needs it.
            of_task = REQUEST_ID.set(request_id)
            self._emit(event)
            REQUEST_ID.reset(of_task)
