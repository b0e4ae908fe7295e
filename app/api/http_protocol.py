"""HTTP/1.1 by uvicorn, with limits on input before the caller is known.

uvicorn accepts a request line and headers of any size, waits for them forever, and answers malformed HTTP in plain
text. Measured: a header of 50 MB blocked the event loop for seconds, and a silent connection was never closed.
"""

from __future__ import annotations

import asyncio
import contextvars
import secrets
from collections.abc import Callable

import httptools
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from app.api.first_end import is_decided, note_malformed
from app.api.http_connection import WRITE_SECONDS, EndingConnection
from app.api.problems import Problem, problem_body
from app.domain.errors import InvalidRequestError

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADER_FIELDS = 100
MAX_PIPELINED = 100
"""Requests that may queue on a connection after the one being answered; uvicorn does not limit them."""

HEAD_SECONDS = 10.0
"""Seconds from the start of the connection, or of a further request, to the end of its headers."""

Refused = Callable[[str], None]
"""Called with the request id of every request that is refused here."""

_MALFORMED = (Problem(400, "The request is malformed"), InvalidRequestError.code, "This is not well-formed HTTP/1.1.")
_TOO_SLOW = (Problem(408, "The request is too slow"), InvalidRequestError.code, "The headers did not arrive in time.")
_TOO_LARGE = (
    Problem(431, "The headers are too large"),
    InvalidRequestError.code,
    f"Send at most {MAX_HEADER_FIELDS} header fields and {MAX_HEAD_BYTES // 1024} KiB of them.",
)


class BoundedHttpProtocol(EndingConnection):
    """One connection. It is closed after a refused request."""

    refused: Refused = staticmethod(lambda _request_id: None)
    head_seconds: float = HEAD_SECONDS
    """Both, and `write_seconds`, are set on a subclass by `bounded_http_protocol`, as uvicorn makes the instances."""

    _head_bytes = 0
    _piece = 0
    _in_head = False
    _begins_here = False
    _offers_upgrade = False
    _reads_no_more = False
    _reason = _MALFORMED
    _deadline: asyncio.TimerHandle | None = None
    _in_body: RequestResponseCycle | None = None
    """The request whose body is being read."""
    _refusal: tuple[bytes, str] | None = None
    """What to send, with its request id, once all requests before it are answered."""

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # the same as in uvicorn
        super().connection_made(transport)
        self._expect_head()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_complete()
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        if self._reads_no_more:
            return
        self._piece, self._begins_here = len(data), False
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._offers_upgrade:
                self._read_without_upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            self.send_400_response("")
            return
        if self.is_ending:
            self.drain()
        # Checked afterwards, because a segment nearly always has the whole head.
        if self._in_head and not self.transport.is_closing():
            # Most of the segment in which it began may belong to other requests.
            self._head_bytes += 0 if self._begins_here else self._piece
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(_TOO_LARGE)
            else:
                self._expect_head()
        elif self._is_idle():
            # An empty line, or the rest of an unread body. Not a request, so nothing else would close it.
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _read_without_upgrade(self, rest: bytes) -> None:
        """Read the request as one that offers no other protocol (RFC 9110 section 7.8): the parser skipped its body.

        Java's HttpClient offers h2c with every request on a plain connection, even with a body.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        fields = b"".join(b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade")
        head = b"%b %b HTTP/%b\r\n%b\r\n" % (method, self.url, version, fields)
        self._offers_upgrade = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.data_received(head + rest)

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_body = None
        self._in_head, self._head_bytes, self._begins_here = True, 0, True

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # A trailer field, which must not count as a header (RFC 9110 section 6.5.1).
        # As in uvicorn, without a further call for each header. The parser trims only what precedes the value.
        name, value = name.lower(), value.strip(b" \t")
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))
        if len(self.headers) > MAX_HEADER_FIELDS:
            self._reason = _TOO_LARGE
            raise ValueError("too many header fields")  # The parser stops, and `send_400_response` is called.

    @override
    def on_headers_complete(self) -> None:
        if self._head_bytes + self._piece > MAX_HEAD_BYTES and self._head_size() > MAX_HEAD_BYTES:
            self._reason = _TOO_LARGE
            raise ValueError("a large head")
        self._head_is_complete()
        names = [name for name, _ in self.headers]
        hosts, codings = names.count(b"host"), names.count(b"transfer-encoding")
        # RFC 9112 sections 3.2 and 6.1: two parsers could read these differently.
        if (hosts != 1 and self.parser.get_http_version() == "1.1") or hosts > 1 or codings > 1:
            raise ValueError("an ambiguous request")
        if codings and self.headers[names.index(b"transfer-encoding")][1].lower() != b"chunked":
            raise ValueError("a coding besides chunked, which another parser may take for no chunks at all")
        if len(self.pipeline) >= MAX_PIPELINED:
            raise ValueError("too many requests at once")
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._offers_upgrade = True
            return
        self.begin_request(names)

    def begin_request(self, names: list[bytes]) -> None:  # noqa: ARG002  # for a subclass
        """Start or queue the request whose head is complete.

        Args:
            names: The names of its headers.

        """
        super().on_headers_complete()
        self._in_body = self.cycle

    @override
    def on_message_complete(self) -> None:
        if not self._offers_upgrade:
            self._in_body = None
            super().on_message_complete()

    @override
    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._refusal is not None and not self.is_answering() and not self.transport.is_closing():
            self.end_with(*self._refusal)

    @override
    def send_400_response(self, msg: str) -> None:
        self._refuse(self._reason)

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _expect_head(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.head_seconds, self._give_up)

    def _head_is_complete(self) -> None:
        self._in_head = False
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        if self._in_head:
            self._refuse(_TOO_SLOW)
        else:
            self.close()

    def _is_idle(self) -> bool:
        """Whether nothing would close the connection: there was a request, and it is answered."""
        return (
            self.timeout_keep_alive_task is None
            and self._deadline is None
            and not self.is_answering()
            and not self.transport.is_closing()
        )

    def is_between_requests(self) -> bool:
        """Whether the parser has read whole requests, bodies included, and nothing of a further one."""
        return not self._in_head and self._in_body is None

    def _answers_head(self) -> bool:
        """Whether the request is HEAD: the parser knows its method once it has begun to read the target."""
        return bool(self.url) and self.parser.get_method() == b"HEAD"

    def _refuse(self, reason: tuple[Problem, str, str]) -> None:
        """Answer with a problem document like any other error, and close.

        Complete requests before it are answered first (RFC 9112 section 9.3.2).
        """
        self._head_is_complete()
        self._reads_no_more = True
        malformed, self._in_body = self._in_body, None
        if malformed is not None and self.pipeline:
            # Its answer has not begun, because others are before it.
            self.pipeline.popleft()
            assert self._running is not None  # noqa: S101  # only then others wait
            self.cycle = self.pipeline[0][0] if self.pipeline else self._running
        elif malformed is not None and malformed.response_complete:
            # The client would read another answer as that to its next request.
            self.close()
            return
        elif malformed is not None and (malformed.response_started or is_decided(malformed.scope["state"])):
            # Its answer is in the audit log, and all or a part of it waits until the client has read those before it.
            malformed.keep_alive = False
            return
        elif malformed is not None:
            # The answer of the app is dropped, because its request turned out to be malformed.
            note_malformed(malformed.scope["state"])
            malformed.disconnected, malformed.response_complete = True, True
            malformed.message_event.set()
        # If the app has begun, its event has the same id as the answer.
        begun_as = None if malformed is None else malformed.scope["state"].get("request_id")
        request_id: str = begun_as or secrets.token_hex(14)
        response = problem_body(*reason, request_id)
        headers = [*response.raw_headers, (b"x-request-id", request_id.encode()), (b"connection", b"close")]
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        body = b"" if self._answers_head() else bytes(response.body)
        answer = STATUS_LINE[reason[0].status] + lines + b"\r\n" + body
        if self.is_answering():
            self._refusal = answer, request_id
        else:
            self.end_with(answer, request_id)

    def end_with(self, answer: bytes, request_id: str) -> None:
        """Send the refusal with this request id, and close."""
        self.transport.write(answer)
        self.close()
        # Not in the context of the request before it, which may have just ended here: its trace is another one.
        contextvars.Context().run(self.refused, request_id)


def bounded_http_protocol(
    refused: Refused, head_seconds: float = HEAD_SECONDS, write_seconds: float = WRITE_SECONDS
) -> type[BoundedHttpProtocol]:
    """The protocol for a server that calls `refused` with the request id of each refusal.

    Args:
        refused: Called with the request id of each refusal.
        head_seconds: From the start of the connection, or of a further request, to the end of its headers.
        write_seconds: In which a client must read an answer that the buffers on the way cannot hold.

    """

    class Reporting(BoundedHttpProtocol):
        """With the values that were given."""

    Reporting.refused = staticmethod(refused)
    Reporting.head_seconds = head_seconds
    Reporting.write_seconds = write_seconds
    return Reporting
