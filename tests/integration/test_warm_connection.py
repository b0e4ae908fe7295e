"""Answers at the connection: the same bytes and events as through ASGI, whatever clients send, and in order."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from app.api.http_protocol import MAX_PIPELINED
from app.api.warm_connection import WarmConnection
from app.domain.rate_limit import RateLimit
from tests.factories import ORG, OTHER_ORG, make_api_key, make_caller
from tests.support.api_in_memory import TOKEN
from tests.support.two_servers import TwoServers, two_servers, without_what_differs
from tests.support.waiting import until
from tests.support.wire import connected

HOST = b"Host: broker.test\r\n"
KEY = b"Authorization: Bearer " + make_api_key("journey").encode() + b"\r\n"
SECOND_KEY = b"Authorization: Bearer " + make_api_key("operator").encode() + b"\r\n"
TARGET = TOKEN.encode()
HEADERS = f"/headers?org={ORG}".encode()


def asked(
    target: bytes = TARGET, *lines: bytes, method: bytes = b"GET", version: bytes = b"1.1", key: bytes = KEY
) -> bytes:
    """A request without a body."""
    return method + b" " + target + b" HTTP/" + version + b"\r\n" + HOST + key + b"".join(lines) + b"\r\n"


WARM = asked()
COLD = asked(b"/orgs")

REQUESTS: dict[str, bytes] = {
    "token": WARM,
    "headers": asked(HEADERS),
    "several": WARM * 5,
    "many": WARM * MAX_PIPELINED,
    "both": WARM + asked(HEADERS) + WARM,
    "cold between": WARM + COLD + WARM,
    "cold first": COLD + WARM + WARM,
    "cold last": WARM + WARM + COLD,
    "unknown path": asked(b"/nothing") + WARM,
    "min_ttl": asked(TARGET + b"&min_ttl=60"),
    "min_ttl too long": asked(TARGET + b"&min_ttl=40000"),
    "other spelling": asked(TARGET.replace(b"@", b"%40")),
    "other org": asked(f"/token?org={OTHER_ORG}".encode()),
    "unknown parameter": asked(TARGET + b"&a=b"),
    "no query": asked(b"/token"),
    "empty query": asked(b"/token?"),
    "fragment": asked(TARGET + b"#part"),
    "fragment before query": asked(b"/token#a?org=" + ORG.encode()),
    "absolute form": asked(b"http://broker.test" + TARGET),
    "percent in path": asked(b"/%74oken?org=" + ORG.encode()),
    "double slash": asked(b"/" + TARGET),
    "final slash": asked(b"/token/?org=" + ORG.encode()),
    "other case": asked(b"/Token?org=" + ORG.encode()),
    "long query": asked(TARGET + b"&" * 2000),
    "head": asked(method=b"HEAD"),
    "head then get": asked(method=b"HEAD") + WARM,
    "get then head": WARM + asked(method=b"HEAD"),
    "head of headers": asked(HEADERS, method=b"HEAD"),
    "post": asked(HEADERS, b"Content-Length: 0\r\n", method=b"POST"),
    "propfind": asked(HEADERS, method=b"PROPFIND"),
    "post of token": asked(method=b"POST"),
    "delete of headers": asked(HEADERS, method=b"DELETE"),
    "options": asked(method=b"OPTIONS"),
    "options of all": asked(b"*", method=b"OPTIONS"),
    "body": asked(TARGET, b"Content-Length: 3\r\n") + b"abc" + WARM,
    "empty body": asked(TARGET, b"Content-Length: 0\r\n") + WARM,
    "chunked body": asked(TARGET, b"Transfer-Encoding: chunked\r\n") + b"3\r\nabc\r\n0\r\n\r\n" + WARM,
    "bad chunk": asked(TARGET, b"Transfer-Encoding: chunked\r\n") + b"zz\r\n",
    "expect": asked(TARGET, b"Expect: 100-continue\r\n"),
    "expect with body": asked(TARGET, b"Expect: 100-continue\r\n", b"Content-Length: 1\r\n") + b"a",
    "http 1.0": asked(version=b"1.0"),
    "http 1.0 keep-alive": asked(TARGET, b"Connection: keep-alive\r\n", version=b"1.0"),
    "http 0.9": asked(version=b"0.9"),
    "http 2.0": asked(version=b"2.0"),
    "close": asked(TARGET, b"Connection: close\r\n") + WARM,
    "keep-alive": asked(TARGET, b"Connection: keep-alive\r\n") + WARM,
    "several then close": WARM * 3 + asked(TARGET, b"Connection: close\r\n"),
    "upgrade": asked(TARGET, b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n"),
    "websocket": asked(TARGET, b"Connection: Upgrade\r\nUpgrade: websocket\r\n"),
    "no key": asked(key=b""),
    "empty key": asked(key=b"Authorization:\r\n"),
    "wrong key": asked(key=b"Authorization: Bearer itb_x_y\r\n"),
    "other scheme": asked(key=KEY.replace(b"Bearer", b"Basic")),
    "two keys": asked(key=KEY * 2),
    "another key": asked(key=SECOND_KEY),
    "key in capitals": asked(key=KEY.replace(b"Authorization", b"AUTHORIZATION")),
    "spaces in key": asked(key=KEY.replace(b"Bearer ", b" bearer   ")),
    "own request id": asked(TARGET, b"X-Request-Id: my.own-id_1\r\n"),
    "bad request id": asked(TARGET, b"X-Request-Id: a b\r\n"),
    "two request ids": asked(TARGET, b"X-Request-Id: one\r\nX-Request-Id: two\r\n"),
    "traceparent": asked(TARGET, b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"),
    "many fields": asked(TARGET, *[b"X-%d: 1\r\n" % number for number in range(90)]),
    "too many fields": WARM + asked(TARGET, *[b"X-%d: 1\r\n" % number for number in range(200)]),
    "large": WARM + asked(TARGET, b"X: " + b"v" * 70_000 + b"\r\n"),
    "no host": WARM + WARM.replace(HOST, b""),
    "two hosts": WARM + asked(TARGET, HOST),
    "malformed": WARM * 2 + b"hello\r\n\r\n",
    "malformed after cold": COLD + WARM + b"hello\r\n\r\n",
    "empty line": WARM + b"\r\n\r\n" + WARM,
    "connect": asked(b"a.example:443", method=b"CONNECT"),
}


@pytest.fixture
async def two() -> AsyncIterator[TwoServers]:
    """Both servers, with the answers to the usual requests prepared."""
    async with two_servers(*(asked(target) for target in (TARGET, HEADERS, TARGET + b"&min_ttl=60"))) as made:
        yield made


@pytest.mark.parametrize("name", REQUESTS)
async def test_the_answer_is_the_same_byte_for_byte(two: TwoServers, name: str) -> None:
    """Answers and decisions are those of the way through ASGI, except for the date and new request ids."""
    data = REQUESTS[name]
    here, there = await two.exchange(True, data), await two.exchange(False, data)
    assert without_what_differs(here[0]) == without_what_differs(there[0])
    assert here[1] == there[1]
    assert here[0].startswith(b"HTTP/1.1 ")


async def test_warm_requests_do_not_reach_the_app(two: TwoServers) -> None:
    """A warm GET starts no task; what is unusual does."""
    calls: list[str] = []
    inner = two.servers[True].config.loaded_app

    async def counting(scope, receive, send):  # type: ignore[no-untyped-def]
        calls.append(scope["method"])
        await inner(scope, receive, send)

    two.servers[True].config.loaded_app = counting
    await two.exchange(True, WARM + asked(HEADERS))
    assert calls == []
    await two.exchange(True, asked(method=b"HEAD"))
    assert calls == ["HEAD"]


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_split_requests_are_answered(two: TwoServers, size: int) -> None:
    """Requests may arrive in any pieces, even with the end of one and the beginning of the next in one."""
    data = WARM + COLD + WARM
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    whole = await two.exchange(False, data)
    split = await two.exchange(True, *pieces)
    assert (without_what_differs(split[0]), split[1]) == (without_what_differs(whole[0]), whole[1])


async def test_a_client_that_does_not_read_is_bounded(two: TwoServers) -> None:
    """Once the buffers are full, further requests take the way through ASGI, which waits and stops reading."""
    client, loop = socket.socket(), asyncio.get_running_loop()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    decided = two.api.sink.all
    with client:
        await loop.sock_connect(client, ("127.0.0.1", two.ports[True]))
        await until(lambda: bool(two.servers[True].server_state.connections))
        [connection] = two.servers[True].server_state.connections
        assert isinstance(connection, WarmConnection)
        while not connection.flow.write_paused:
            before = len(decided)
            await loop.sock_sendall(client, WARM * 20)
            await until(lambda: connection.flow.write_paused or len(decided) >= before + 20)  # noqa: B023  # waited for
        await loop.sock_sendall(client, WARM * 20)
        await until(lambda: connection.flow.read_paused)
        assert connection.transport.get_write_buffer_size() < 500_000


async def test_a_client_that_sends_its_end_is_answered(two: TwoServers) -> None:
    """A client may close its side after the request (a half-closed connection)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", two.ports[True])
    writer.write(WARM)
    writer.write_eof()
    assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")
    writer.close()


async def test_an_idle_connection_is_closed_after_the_keep_alive_timeout(two: TwoServers) -> None:
    """Each answer starts the timeout again; then the connection is closed."""
    two.servers[True].config.timeout_keep_alive = 1
    async with connected(two.ports[True]) as connection:
        for _ in range(3):
            assert (await connection.request(WARM)).status == 200
            await asyncio.sleep(0.5)
        await until(lambda: connection.ended)


async def test_a_connection_with_warm_answers_announces_its_end(two: TwoServers) -> None:
    """At the end of the server, the next answer says ``Connection: close``, and then it is closed."""
    server = two.servers[True]
    async with connected(two.ports[True]) as connection:
        assert (await connection.request(WARM)).header("connection") is None
        server.should_exit = True
        await until(lambda: not server.servers[0].is_serving())
        assert (await connection.request(WARM)).header("connection") == "close"
        await until(lambda: connection.ended)


async def test_a_rate_limit_and_a_full_audit_log_hold_at_the_connection(two: TwoServers) -> None:
    """Both are part of the one decision."""
    two.api.audit_is_full = True
    assert (await two.exchange(True, WARM))[0][9:12] == b"503"
    two.api.audit_is_full = False
    two.api.change_policy(make_caller("journey", rate_limit=RateLimit(3, 3600.0)))
    statuses = [(await two.exchange(True, WARM))[0][9:12] for _ in range(5)]
    assert statuses == [b"200"] * 3 + [b"429"] * 2
