"""A body that turns out to be malformed: the audit log says what the client was answered."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextvars import ContextVar

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from app.api.http_protocol import BoundedHttpProtocol, bounded_http_protocol
from app.domain.events import RequestDecided
from app.main import Server, create_server, listening_socket
from app.service.purges import Purges
from app.service.vend import TokenVendor
from tests.factories import OTHER_ORG
from tests.integration.test_http_connections import GET, deaf_client
from tests.integration.test_warm_connection import HEADERS, SECOND_KEY, TARGET, WARM, asked
from tests.support.echo_server import HOST, echo_server
from tests.support.pausing import Pausing
from tests.support.two_servers import TwoServers, two_servers
from tests.support.waiting import until
from tests.support.wire import connected

CHUNKED = b"Transfer-Encoding: chunked\r\n"
NO_CHUNK = b"zz\r\n"
STRANGE_ORG = "0123456789ABCDEF0123FFFF@AdobeOrg"
"""An org that no rule allows."""

both = pytest.mark.parametrize("at_connection", [True, False], ids=["at the connection", "asgi"])


OF_A_REQUEST = ContextVar[str]("OF_A_REQUEST")
"""Such as its trace."""


@pytest.fixture
async def two() -> AsyncIterator[TwoServers]:
    """Both servers, with an answer prepared."""
    async with two_servers(WARM) as made:
        made.api.sink.all.clear()
        yield made


def outcomes(two: TwoServers) -> list[tuple[str, str]]:
    """The endpoints and outcomes of all requests."""
    return [(event.decision.endpoint, event.decision.outcome) for event in two.api.sink.of(RequestDecided)]


def connection_of(server: Server) -> BoundedHttpProtocol:
    """The server's only connection."""
    [connection] = server.server_state.connections
    assert isinstance(connection, BoundedHttpProtocol)
    return connection


@both
@pytest.mark.parametrize(
    ("method", "target"), [(b"GET", TARGET), (b"GET", HEADERS), (b"DELETE", TARGET)], ids=["warm", "cold", "purge"]
)
async def test_a_request_with_a_malformed_body_is_not_run(
    two: TwoServers, at_connection: bool, method: bytes, target: bytes
) -> None:
    """If the body is malformed where it begins, the only event is that of the 400, and nothing was vended or purged."""
    kept = two.api.world.exchanges, len(two.api.replica.memory)
    answer, _ = await two.exchange(at_connection, asked(target, CHUNKED, method=method, key=SECOND_KEY) + NO_CHUNK)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert outcomes(two) == [("*", "invalid_request")]
    assert (two.api.world.exchanges, len(two.api.replica.memory)) == kept


@both
@pytest.mark.parametrize("ends", ["vended", "refused"])
async def test_a_request_whose_body_turns_malformed_while_it_waits_is_reported_as_400(
    two: TwoServers, at_connection: bool, ends: str
) -> None:
    """Neither a token nor an error that the client did not get is in the event, whatever the exchange comes to."""
    calls = two.api.world.exchanger.calls(OTHER_ORG)
    calls.pause()
    async with connected(two.ports[at_connection]) as connection:
        await connection.send(asked(f"/token?org={OTHER_ORG}".encode(), CHUNKED, key=SECOND_KEY))
        await calls.one_waits()
        answer = await connection.request(NO_CHUNK)
        assert answer.status == 400
        if ends == "refused":
            two.api.change_policy()
        calls.resume()
        await until(lambda: len(outcomes(two)) == 2)
    assert outcomes(two) == [("*", "invalid_request"), ("/token", "invalid_request")]
    [refused, event] = two.api.sink.of(RequestDecided)
    assert refused.request_id == event.request_id == answer.header("x-request-id")
    assert (event.decision.caller, event.decision.org) == ("operator", OTHER_ORG)
    assert (event.decision.token_sha256, event.decision.tier) == (None, None)


@both
async def test_a_token_that_was_sent_before_the_body_turned_malformed_is_reported_as_vended(
    two: TwoServers, at_connection: bool
) -> None:
    """The client has the token, so the event says so; the connection is closed without another answer."""
    async with connected(two.ports[at_connection]) as connection:
        assert (await connection.request(asked(TARGET, CHUNKED))).status == 200
        await connection.send(NO_CHUNK)
        with pytest.raises(ConnectionError):
            await connection.reply()
    assert outcomes(two) == [("/token", "vended")]


async def test_an_answer_that_waits_for_a_slow_reader_is_not_replaced() -> None:
    """The app has decided, and its answer waits for room: the client gets it as the last one, and no 400 instead."""
    loop = asyncio.get_running_loop()
    async with echo_server(small_buffers=True) as server:
        server.answer = "x" * 300_000
        server.reads_bodies = False
        with deaf_client(server.port, GET + GET.replace(HOST, HOST + CHUNKED)) as client:
            await until(lambda: len(server.seen) == 2)
            client.sendall(NO_CHUNK)
            client.setblocking(False)
            received = b""
            async with asyncio.timeout(10):
                while data := await loop.sock_recv(client, 1 << 20):
                    received += data
    assert re.findall(rb"HTTP/1.1 (\d+) |(connection: close)", received) == [
        (b"200", b""),
        (b"200", b""),
        (b"", b"connection: close"),
    ]
    assert received.count(b"x") >= 600_000
    assert server.refused == []


@both
async def test_a_purge_that_was_carried_out_is_reported_as_done(
    two: TwoServers, at_connection: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client got 400, but the purge has happened: its event says by whom."""
    purging = Pausing(Purges.purge)
    monkeypatch.setattr(Purges, "purge", purging.method())
    async with connected(two.ports[at_connection]) as connection:
        await connection.send(asked(TARGET, CHUNKED, method=b"DELETE", key=SECOND_KEY))
        await purging.begun.wait()
        assert (await connection.request(NO_CHUNK)).status == 400
        purging.may_end.set()
        await until(lambda: len(outcomes(two)) == 2)
    assert outcomes(two) == [("*", "invalid_request"), ("/token", "done")]
    assert two.api.sink.of(RequestDecided)[-1].decision.caller == "operator"


async def test_an_unexpected_error_behind_a_malformed_body_is_reported_as_400(
    two: TwoServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both events have the outcome that the client got."""
    vending = Pausing(_broken)
    monkeypatch.setattr(TokenVendor, "vend", vending.method())
    async with connected(two.ports[True]) as connection:
        await connection.send(asked(f"/token?org={OTHER_ORG}".encode(), CHUNKED, key=SECOND_KEY))
        await vending.begun.wait()
        assert (await connection.request(NO_CHUNK)).status == 400
        vending.may_end.set()
        await until(lambda: len(outcomes(two)) == 2)
    assert outcomes(two) == [("*", "invalid_request"), ("/token", "invalid_request")]


async def _broken(*_: object) -> None:
    raise RuntimeError


@both
@pytest.mark.parametrize(
    ("kind", "outcome", "status"),
    [
        ("vended", "vended", 200),
        ("warm", "vended", 200),
        ("denied", "forbidden", 403),
        ("broken", "internal_error", 500),
        ("full", "overloaded", 503),
    ],
)
async def test_what_was_decided_is_answered_although_the_body_turns_malformed(
    two: TwoServers, at_connection: bool, kind: str, outcome: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer waits until the client reads; it comes as the last one, with the id of its only event, and no 400."""
    org = STRANGE_ORG if kind == "denied" else OTHER_ORG
    cold = asked(f"/token?org={org}".encode(), CHUNKED, key=SECOND_KEY)
    if kind == "broken":
        monkeypatch.setattr(TokenVendor, "vend", _broken)
    if kind == "full":
        for part in (two.api.app, two.api.app.warm):
            monkeypatch.setattr(part, "_audit_is_full", lambda: True)
    async with connected(two.ports[at_connection]) as connection:
        await until(lambda: bool(two.servers[at_connection].server_state.connections))
        served = connection_of(two.servers[at_connection])
        served.pause_writing()
        await connection.send(asked(TARGET, CHUNKED) if kind == "warm" else cold)
        await until(lambda: len(outcomes(two)) == 1)
        await connection.send(NO_CHUNK)
        await until(lambda: served._reads_no_more)
        served.resume_writing()
        answer = await connection.reply()
    assert (answer.status, answer.header("connection")) == (status, "close")
    [event] = two.api.sink.of(RequestDecided)
    assert (event.decision.outcome, event.request_id) == (outcome, answer.header("x-request-id"))


async def test_an_answer_that_has_begun_is_sent_whole() -> None:
    """The head is on its way when the body of the request turns malformed: the client gets the body, too."""
    begun, may_end, refused = asyncio.Event(), asyncio.Event(), list[str]()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        begun.set()
        await may_end.wait()
        await send({"type": "http.response.body", "body": b"whole"})

    with listening_socket("127.0.0.1", 0) as sock:
        server = create_server(app, bounded_http_protocol(refused.append))
        task = asyncio.create_task(server.serve(sockets=[sock]))
        async with connected(sock.getsockname()[1]) as connection:
            await connection.send(GET.replace(HOST, HOST + CHUNKED))
            await begun.wait()
            served = connection_of(server)
            await connection.send(NO_CHUNK)
            await until(lambda: served._reads_no_more)
            may_end.set()
            assert (await connection.reply()).body == b"whole"
        server.should_exit = True
        await task
    assert refused == []


async def test_a_refusal_is_reported_apart_from_the_request_before_it() -> None:
    """What is refused behind a request is an event of its own, without the context of that request (its trace)."""
    contexts = list[str]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        OF_A_REQUEST.set("the request before")
        await PlainTextResponse("seen")(scope, receive, send)

    with listening_socket("127.0.0.1", 0) as sock:
        kind = bounded_http_protocol(lambda _id: contexts.append(OF_A_REQUEST.get("its own")))
        server = create_server(app, kind)
        task = asyncio.create_task(server.serve(sockets=[sock]))
        async with connected(sock.getsockname()[1]) as connection:
            await connection.send(GET + b"BROKEN\r\n\r\n")
            assert [(await connection.reply()).status, (await connection.reply()).status] == [200, 400]
        server.should_exit = True
        await task
    assert contexts == ["its own"]
