"""A body that turns out to be malformed: the audit log says what the client was answered."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from app.domain.events import RequestDecided
from tests.factories import OTHER_ORG
from tests.integration.test_http_connections import GET, deaf_client
from tests.integration.test_warm_connection import HEADERS, SECOND_KEY, TARGET, WARM, asked
from tests.support.echo_server import HOST, echo_server
from tests.support.two_servers import TwoServers, two_servers
from tests.support.waiting import until
from tests.support.wire import connected

CHUNKED = b"Transfer-Encoding: chunked\r\n"
NO_CHUNK = b"zz\r\n"

both = pytest.mark.parametrize("at_connection", [True, False], ids=["at the connection", "asgi"])


@pytest.fixture
async def two() -> AsyncIterator[TwoServers]:
    """Both servers, with an answer prepared."""
    async with two_servers(WARM) as made:
        made.api.sink.all.clear()
        yield made


def outcomes(two: TwoServers) -> list[tuple[str, str]]:
    """The endpoints and outcomes of all requests."""
    return [(event.decision.endpoint, event.decision.outcome) for event in two.api.sink.of(RequestDecided)]


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
