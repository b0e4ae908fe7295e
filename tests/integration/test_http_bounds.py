"""What the server reads before the app sees it: bounded in size and time, with errors in the usual form."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterable

import pytest

from app.api.http_protocol import HEAD_SECONDS, MAX_HEAD_BYTES, MAX_HEADER_FIELDS, MAX_PIPELINED
from tests.support.echo_server import HOST, EchoServer, echo_server
from tests.support.waiting import until
from tests.support.wire import connected


@pytest.fixture
async def server(request: pytest.FixtureRequest) -> AsyncIterator[EchoServer]:
    """A running server. Its parameter, if any, is the timeout in seconds for the head of a request."""
    async with echo_server(head_seconds=getattr(request, "param", HEAD_SECONDS)) as running:
        yield running


def get(*lines: bytes, host: bytes = HOST) -> bytes:
    """A request without a body whose connection ends with it."""
    return b"GET / HTTP/1.1\r\n" + host + b"Connection: close\r\n" + b"".join(lines) + b"\r\n"


def problem(answer: bytes, status: int, server: EchoServer) -> None:
    """`answer` is a problem document of `status` like every other error, and the listener was notified."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), head[:80]
    headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"cache-control"] == b"no-store"
    assert headers[b"connection"] == b"close"
    assert int(headers[b"content-length"]) == len(body)
    document = json.loads(body)
    assert (document["status"], document["code"]) == (status, "invalid_request")
    assert server.refused == [document["request_id"]] == [headers[b"x-request-id"].decode()]
    assert server.seen == []


async def test_a_good_request_passes(server: EchoServer) -> None:
    """Headers within the bounds are accepted."""
    most = [b"X-%d: %b\r\n" % (number, b"v" * 400) for number in range(MAX_HEADER_FIELDS - 2)]
    assert (await server.exchange(get(*most))).endswith(b"seen")
    assert len(server.seen[0]) == MAX_HEADER_FIELDS
    assert server.refused == []


@pytest.mark.parametrize("data", [
    get(*[b"X-%d: 1\r\n" % number for number in range(MAX_HEADER_FIELDS)]),
    get(*[b"X: 1\r\n"] * 100_000),
    get(b"X: " + b"v" * 65_600 + b"\r\n"),
    get(b"X: " + b"v" * 120_000 + b"\r\n"),
    b"GET /" + b"p" * 70_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
])  # fmt: skip
async def test_a_head_over_the_bounds_is_refused(server: EchoServer, data: bytes) -> None:
    """One field too many, or 100,000, or more than 64 KiB in one piece: 431."""
    problem(await server.exchange(data), 431, server)


def endless(size: int, piece: int = 65536) -> Iterable[bytes]:
    """A header that never ends, in pieces."""
    yield b"GET / HTTP/1.1\r\n" + HOST + b"X-Endless: "
    for _ in range(0, size, piece):
        yield b"v" * piece


async def test_a_header_without_end_is_cut_off(server: EchoServer) -> None:
    """The server reads little more than 64 KiB of a 50 MB header."""
    assert await sent_before_the_end(server.port, endless(50_000_000)) < 100 * MAX_HEAD_BYTES
    assert len(server.refused) == 1


async def sent_before_the_end(port: int, pieces: Iterable[bytes]) -> int:
    """How many bytes the server and the kernel buffers took before the server closed the connection."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    sent = 0
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            sent += len(piece)
    except ConnectionError:
        pass
    finally:
        writer.close()
    return sent


@pytest.mark.parametrize("data", [
    b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n",
    b"hello\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    get(b"X: a\x00b\r\n"),
    get(b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"),
    get(b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"),
    get(HOST),
    get(host=b""),
])  # fmt: skip
async def test_a_malformed_request_gets_a_problem_document(server: EchoServer, data: bytes) -> None:
    """A malformed or ambiguous request gets a problem document with an id that quotes nothing of the request."""
    problem(await server.exchange(data), 400, server)


GOOD = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"


@pytest.mark.parametrize("server", [0.2], indirect=True)
@pytest.mark.parametrize("good", [1, 3])
@pytest.mark.parametrize(("bad", "status"), [
    ((b"hello\r\n\r\n",), 400),
    ((GOOD[:-2] + HOST + b"\r\n",), 400),
    ((b"GET / HT",), 408),
    ((GOOD[:-2] + b"X: ", *[b"v" * 65536] * 20), 431),
    ((GOOD[:-2] + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",), 400),
], ids=["malformed", "ambiguous", "slow", "large", "body"])  # fmt: skip
async def test_a_bad_request_does_not_take_the_answers_of_those_before_it(
    server: EchoServer, good: int, bad: tuple[bytes, ...], status: int
) -> None:
    """Requests that are not answered yet get their answers, in order, and then the bad one gets its own."""
    server.answers.clear()
    first, *more = bad
    began = asyncio.create_task(server.exchange(GOOD * good + first, *more))
    await until(lambda: bool(server.seen))
    await asyncio.sleep(0.3)  # the time in which a head that is not complete is refused
    server.answers.set()
    answer = await began
    assert (answer.count(b"HTTP/1.1 200 "), answer.count(b"HTTP/1.1 ")) == (good, good + 1)
    *_, last = answer.rpartition(b"HTTP/1.1 ")
    document = json.loads(last.partition(b"\r\n\r\n")[2])
    assert (document["status"], [document["request_id"]]) == (status, server.refused)


HEAD = b"HEAD / HTTP/1.1\r\n" + HOST


@pytest.mark.parametrize("server", [0.2], indirect=True)
@pytest.mark.parametrize(("data", "status"), [
    (HEAD + b"X: " + b"v" * 65_600 + b"\r\n\r\n", 431),
    (HEAD + b"X: 1\r\n" * (MAX_HEADER_FIELDS + 1) + b"\r\n", 431),
    (HEAD + b"X:", 408),
    (HEAD + HOST + b"\r\n", 400),
    (HEAD + b"X: a\x00b\r\n\r\n", 400),
], ids=["large", "many", "slow", "ambiguous", "malformed"])  # fmt: skip
async def test_a_refused_head_request_gets_no_body(server: EchoServer, data: bytes, status: int) -> None:
    """HEAD gets the headers that GET would get, and nothing after them (RFC 9110 section 9.3.2)."""
    head, end, body = (await server.exchange(data)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert (end, body) == (b"\r\n\r\n", b"")
    assert b"content-type: application/problem+json" in head.lower()
    assert int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]) > 0
    assert len(server.refused) == 1


@pytest.mark.parametrize("server", [0.2], indirect=True)
@pytest.mark.parametrize("begun", [b"GET / HTTP/1.1\r\nHost: a\r\nX:", b"GET /", b"GE", b"hello\r\n\r\n"])
async def test_a_request_after_head_gets_a_body(server: EchoServer, begun: bytes) -> None:
    """A refusal belongs to the request that was begun, whatever the one before it on the connection was."""
    async with connected(server.port) as connection:
        assert (await connection.request(HEAD + b"\r\n", bodiless=True)).status == 200
        assert (await connection.request(begun)).json["code"] == "invalid_request"


@pytest.mark.parametrize("space", [b"", b" ", b"  ", b"\t", b" \t "])
async def test_a_field_value_is_trimmed(server: EchoServer, space: bytes) -> None:
    """Spaces and tabs around a value do not belong to it (RFC 9110 section 5.5); those within it do."""
    await server.exchange(get(b"X-Request-Id:" + space + b"a \t b" + space + b"\r\nX-Empty:" + space + b"\r\n"))
    assert (server.values[0][b"x-request-id"], server.values[0][b"x-empty"]) == (b"a \t b", b"")


async def test_http_1_0_needs_no_host(server: EchoServer) -> None:
    """RFC 9112 section 3.2 requires Host only in HTTP/1.1."""
    assert (await server.exchange(b"GET / HTTP/1.0\r\n\r\n")).endswith(b"seen")


async def test_a_trailer_field_is_not_a_header(server: EchoServer) -> None:
    """A credential in a trailer, which no gateway has seen, is not accepted."""
    chunked = b"Transfer-Encoding: chunked\r\n"
    trailer = b"0\r\nAuthorization: Bearer x\r\nX-Request-Id: y\r\n\r\n"
    assert (await server.exchange(get(chunked) + trailer)).endswith(b"seen")
    assert server.seen == [[b"host", b"connection", b"transfer-encoding"]]


@pytest.mark.parametrize("server", [0.2], indirect=True)
@pytest.mark.parametrize("begun", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\nX:"])
async def test_a_slow_request_head_times_out(server: EchoServer, begun: bytes) -> None:
    """A connection that sends nothing is closed after the timeout; one that began a request gets an error first."""
    answer = await server.exchange(begun)
    if begun:
        problem(answer, 408, server)
    else:
        assert (answer, server.refused) == (b"", [])


@pytest.mark.parametrize("server", [0.2], indirect=True)
async def test_an_idle_connection_stays_open_between_requests(server: EchoServer) -> None:
    """The timeout for a head starts at its first byte: between requests only the keep-alive timeout applies."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for _ in range(2):
        writer.write(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        assert re.match(rb"HTTP/1.1 200 ", await reader.readuntil(b"seen"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await reader.read(1)
    writer.close()


async def test_pipelined_requests_are_answered_in_order(server: EchoServer) -> None:
    """Two requests in one segment get two responses; a malformed one among them does not interleave responses."""
    one = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
    assert (await server.exchange(one + get())).count(b"seen") == 2
    assert (await server.exchange(one + b"BREW\r\n\r\n")).count(b"HTTP/1.1 ") == 2


async def test_pipelining_is_bounded(server: EchoServer) -> None:
    """Pipelined requests are queued up to a limit, and then the connection is closed."""
    await server.exchange((b"GET / HTTP/1.1\r\n" + HOST + b"\r\n") * 100_000)
    assert len(server.seen) <= 2 * MAX_PIPELINED


@pytest.mark.parametrize("ending", [b"\r\n", b"\r\n\r\n"])
async def test_an_empty_line_after_a_request_does_not_keep_the_connection_open(
    server: EchoServer, ending: bytes
) -> None:
    """An empty line is not a request, and does not cancel the timer that closes an idle connection."""
    server.keep_alive(0.3)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
    await reader.readuntil(b"seen")
    writer.write(ending)
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize("pieces", [(b"", b"a=1"), (b"a=1", b"")], ids=["two-segments", "one-segment"])
async def test_an_offer_of_another_protocol_is_ignored(server: EchoServer, pieces: tuple[bytes, bytes]) -> None:
    """Java's HttpClient offers h2c with each request; its body is read, and the connection is not upgraded."""
    head = (
        b"POST /x?y=1 HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: 3\r\n"
        + HOST
        + b"HTTP2-Settings: AAEAAEAA\r\nUpgrade: h2c\r\n\r\n"
    )
    answer = await server.exchange(head + pieces[0], pieces[1], seconds=0.5)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert server.bodies == [b"a=1"]
    assert server.seen == [[b"connection", b"content-length", b"host", b"http2-settings"]]


async def test_connect_is_refused(server: EchoServer) -> None:
    """The server is not a proxy: there is one response, and nothing after it is read."""
    answer = await server.exchange(b"CONNECT a.example:443 HTTP/1.1\r\n" + HOST + b"\r\n" + get(), seconds=0.5)
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert b"seen" not in answer or server.seen


async def test_a_malformed_body_is_answered(server: EchoServer) -> None:
    """Invalid chunks get a problem document, whatever the app would have answered."""
    answer = await server.exchange(get(b"Transfer-Encoding: chunked\r\n"), b"zz\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert len(server.refused) == 1
