"""Answers warm requests, and refuses others, as soon as their headers are parsed, without a task and without ASGI.

It decides nothing: `app.api.warm_head` decides, for the connection and for the door (ASGI). An unusual request is left
to uvicorn and takes the normal path. The response is the same, byte for byte.

Clients send the same header fields with each request. So a connection remembers the last ones that the parser read, and
does not parse the same bytes again. It remembers how they were parsed, not what was decided. Forms and
batches are answered here only if their headers repeat: the first one on a connection goes through ASGI.
"""

from __future__ import annotations

from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from app.api.answers import Answer
from app.api.caller_gate import proof_of
from app.api.http_protocol import MAX_PIPELINED, BoundedHttpProtocol
from app.api.warm_head import BodyHead, WarmHead

_METHOD = b"GET "
_POST = b"POST "
_VERSION = b" HTTP/1.1\r\n"
_END = b"\r\n\r\n"

MAX_REMEMBERED_BYTES = 8 * 1024
"""The largest header fields that a connection remembers, and the largest segment with a body."""

_UNUSUAL = frozenset({b"connection", b"content-length", b"transfer-encoding", b"expect", b"upgrade"})
"""Headers that announce a body or concern the connection."""

_OF_A_CALLER = frozenset({200, 403})
"""Answers here that only a proven caller gets: its request had exactly one Authorization header."""

_UNUSUAL_WITH_A_BODY = _UNUSUAL - {b"content-length"}


class WarmConnection(BoundedHttpProtocol):
    """One connection."""

    warm: WarmHead
    """Set on a subclass by `warm_http_protocol`, because uvicorn makes the instances."""

    _is_answered = False
    """Whether the request that is being read was already answered."""
    _is_proven = False
    """Whether the last request that was answered here was that of a proven caller."""
    _answers: tuple[bytes, ...] = ()
    """Responses to the requests in one segment. They are written together."""
    _fields = b""
    """The bytes after the target of the last request; empty unless the last segment was exactly one, answered here."""
    _proof = b""
    """The hashed credential of that request's caller."""
    _body: tuple[bytes, int, BodyHead] | None = None
    """If the last parsed segment was exactly one form or batch: the bytes of its head, its whole size, and its head."""
    _heads = 0
    """Requests whose head was completed by the segment."""
    _first_lines = b""
    _first_lines_of: object = None

    @override
    def data_received(self, data: bytes) -> None:
        fields = self._fields
        # `fields` is set only if the parser is between two requests, none is open, and the keep-alive timer runs.
        if (
            fields
            and data.endswith(fields)
            and data.startswith(_METHOD)
            and not self.is_ending
            and not self.flow.write_paused
        ):
            answered = self.warm.answer_get(data[len(_METHOD) : -len(fields)], self._proof)
            if answered is not None:
                answer, request_id = answered
                self.transport.write(self._rendered(answer, request_id.encode()))
                self.note_use()
                return
        if self._body is not None and self._answer_body(data, *self._body):
            return
        self._fields, self._body, self._heads = b"", None, 0
        begins_here = self.is_between_requests()
        super().data_received(data)
        if begins_here and self._heads == 1:
            self._remember(data)
        self._write_answers()

    @override
    def begin_request(self, names: list[bytes]) -> None:
        self._heads += 1
        if not self._answer_at_once(names):
            super().begin_request(names)

    @override
    def on_message_complete(self) -> None:
        if self._is_answered:
            self._is_answered = False
        else:
            super().on_message_complete()

    @override
    def end_with(self, answer: bytes, request_id: str) -> None:
        self._write_answers()
        super().end_with(answer, request_id)

    @override
    def close(self) -> None:
        self._write_answers()
        super().close()

    def _answer_at_once(self, names: list[bytes]) -> bool:
        if (
            not _UNUSUAL.isdisjoint(names)
            or self.is_answering()
            or self.is_ending
            or self.flow.write_paused
            or len(self._answers) >= MAX_PIPELINED
            or self.parser.get_method() != b"GET"
            or not self.parser.should_keep_alive()  # HTTP/1.0, because there is no Connection header
        ):
            return False
        path, _, query = self.url.partition(b"?")
        authorizations, request_id = self.warm.identify(self.headers)
        address = "" if self.client is None else self.client[0]
        answer = self.warm.answer("GET", path.decode("latin-1"), query, authorizations, address, request_id)
        if answer is None:
            return False
        self._is_proven = answer.status in _OF_A_CALLER
        self._answers += (self._rendered(answer, request_id),)
        self._is_answered = True
        return True

    def _remember(self, data: bytes) -> None:
        """Remember how the only request in `data` was parsed: a GET answered here, a complete form or a batch."""
        headers = dict(self.headers)
        # With a request id, each request has different header fields.
        if b"x-request-id" in headers or not self.is_between_requests():
            return
        end = data.find(_END) + len(_END)
        if self._answers and self._is_proven and data.startswith(b"%b%b%b" % (_METHOD, self.url, _VERSION)):
            fields = data[len(_METHOD) + len(self.url) :]
            if end == len(data) and len(fields) <= MAX_REMEMBERED_BYTES:
                self._fields, self._proof = fields, proof_of(headers[b"authorization"])
        elif len(data) <= MAX_REMEMBERED_BYTES and data.startswith(b"%b%b%b" % (_POST, self.url, _VERSION)):
            size = headers.get(b"content-length", b"")
            head = self.warm.body_head(self.url, self.headers)
            if (
                head is not None
                and size.isdigit()
                and end + int(size) == len(data)
                and _UNUSUAL_WITH_A_BODY.isdisjoint(headers)
            ):
                self._body = data[:end], len(data), head

    def _answer_body(self, data: bytes, raw: bytes, size: int, head: BodyHead) -> bool:
        if (
            len(data) != size
            or not data.startswith(raw)
            or self.is_answering()
            or self.is_ending
            or self.flow.write_paused
        ):
            return False
        answered = self.warm.answer_body(head, data[len(raw) :])
        if answered is None:
            return False
        answer, request_id = answered
        self.transport.write(self._rendered(answer, request_id.encode()))
        self.note_use()
        return True

    def _rendered(self, answer: Answer, request_id: bytes) -> bytes:
        headers = self.server_state.default_headers
        if headers is not self._first_lines_of:
            # As uvicorn writes them. It creates a new list each second.
            self._first_lines_of = headers
            self._first_lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        return b"".join(
            (
                STATUS_LINE[answer.status],
                self._first_lines,
                answer.lines,
                b"x-request-id: ",
                request_id,
                _END,
                answer.body,
            )
        )

    def _write_answers(self) -> None:
        if self._answers:
            self.transport.write(b"".join(self._answers))
            self._answers = ()


def warm_http_protocol(protocol: type[BoundedHttpProtocol], warm: WarmHead) -> type[BoundedHttpProtocol]:
    """A subclass of `protocol` that answers warm requests by `warm`.

    Args:
        protocol: The class of connections, with its limits.
        warm: Decides, and emits the events.

    """

    class Answering(WarmConnection, protocol):  # type: ignore[misc, valid-type]  # mypy knows no class that is a value
        """Bound to `warm`."""

    Answering.warm = warm
    return Answering
