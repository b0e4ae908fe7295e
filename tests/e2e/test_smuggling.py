"""Requests hidden in the bodies of others, and queries spelled in other ways, with the fast path on and off."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.backends import sandbox_backend
from tests.support.broker_without_vault import BrokerWithoutVault
from tests.support.wire import HOST

HASTY = "hasty"
LIMIT = 5
END = b"0\r\n\r\n"
"""The last chunk."""

LAST = b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
"""The last request of a connection that stays in step."""


@dataclass(frozen=True)
class Limited:
    """A broker, and the API key of the caller with a limit."""

    broker: BrokerWithoutVault
    key: str


@pytest.fixture(scope="module", params=["on", "off"])
def limited(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Limited]:
    """A broker with one tenant, and a caller with a limit."""
    folder = tmp_path_factory.mktemp("smuggling")
    with sandbox_backend(folder) as sandbox:
        running = BrokerWithoutVault(folder, sandbox, FAST_PATH=request.param)
        running.tenant()
        key = running.policy.caller(HASTY, {"orgs": ["*"]}, rate_limit=f"{LIMIT}/h")
        try:
            running.start()
            yield Limited(running, key)
        finally:
            running.replica.process.kill()


@pytest.fixture
def broker(limited: Limited) -> BrokerWithoutVault:
    """The broker alone."""
    return limited.broker


def head(broker: BrokerWithoutVault, method: str = "GET") -> bytes:
    """A good request up to where its headers end; a warm one with the default method."""
    path = "/token" if method == "GET" else "/token/report"
    line = f"{method} {path}?org={broker.tenants[0].org} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer "
    return line.encode() + broker.replica.key.encode() + b"\r\n"


async def statuses(broker: BrokerWithoutVault, data: bytes) -> list[int]:
    """The statuses of all answers until the broker closes the connection."""
    reader, writer = await asyncio.open_connection(HOST, broker.replica.port)
    try:
        writer.write(data)
        async with asyncio.timeout(10):
            answers = await reader.read()
    finally:
        writer.close()
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", answers)]


CHUNKED = b"Transfer-Encoding: chunked\r\n"
AMBIGUOUS = {
    "both": b"Content-Length: 5\r\n" + CHUNKED,
    "both, reversed": CHUNKED + b"Content-Length: 5\r\n",
    "another coding": b"Transfer-Encoding: xchunked\r\n",
    "two codings": b"Transfer-Encoding: gzip, chunked\r\n",
    "coding after chunked": b"Transfer-Encoding: chunked, identity\r\n",
    "identity": b"Transfer-Encoding: identity\r\n",
    "twice": CHUNKED + CHUNKED,
    "no coding": b"Transfer-Encoding: \r\n",
    "quoted": b'Transfer-Encoding: "chunked"\r\n',
    "parameter": b"Transfer-Encoding: chunked;a=b\r\n",
    "vertical tab": b"Transfer-Encoding: \x0bchunked\r\n",
    "space before the colon": b"Transfer-Encoding : chunked\r\n",
    "folded": b"Transfer-Encoding:\r\n chunked\r\n",
    "folded away": b"X: y\r\n Transfer-Encoding: chunked\r\n",
    "bare line feed": b"X: y\nTransfer-Encoding: chunked\r\n",
    "bare carriage return": b"X: y\rTransfer-Encoding: chunked\r\n",
    "length with a sign": b"Content-Length: +5\r\n",
    "length in hex": b"Content-Length: 0x5\r\n",
    "length as a list": b"Content-Length: 5, 5\r\n",
    "length with a fraction": b"Content-Length: 5.0\r\n",
    "length negative": b"Content-Length: -1\r\n",
    "length beyond 64 bits": b"Content-Length: 18446744073709551621\r\n",
    "length empty": b"Content-Length: \r\n",
    "length with NUL": b"Content-Length: 5\0\r\n",
    "length folded": b"Content-Length:\r\n 5\r\n",
    "length twice": b"Content-Length: 5\r\nContent-Length: 5\r\n",
    "two lengths": b"Content-Length: 0\r\nContent-Length: 5\r\n",
    "no name": b": x\r\nContent-Length: 5\r\n",
    "no colon": b"x\r\nContent-Length: 5\r\n",
    "two hosts": b"Host: b\r\nContent-Length: 5\r\n",
}
"""Headers that two parsers could read differently."""

CHUNKS = {
    "hex prefix": b"0x0\r\n\r\n",
    "sign": b"+0\r\n\r\n",
    "space before": b" 0\r\n\r\n",
    "space after": b"0 \r\n\r\n",
    "line feeds": b"0\n\n",
    "a line feed": b"0\r\n\n",
    "line feed in an extension": b"0;a\nb\r\n\r\n",
    "carriage return in an extension": b"0;a\rb\r\n\r\n",
    "beyond 64 bits": b"10000000000000000\r\n\r\n",
    "negative": b"-1\r\n\r\n",
    "too short": b"2\r\n{}0\r\n\r\n",
    "too long": b"2\r\n{}x\r\n0\r\n\r\n",
    "no size": b"\r\n\r\n",
    "length in a trailer": b"0\r\nContent-Length: 5\r\n\r\n",
    "coding in a trailer": b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
}
"""Chunks that two parsers could read differently."""


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("headers", AMBIGUOUS.values(), ids=AMBIGUOUS)
async def test_what_two_parsers_could_read_differently_ends_the_connection(
    broker: BrokerWithoutVault, method: str, headers: bytes
) -> None:
    """An ambiguous request gets 400 and nothing behind it is read, also where a warm answer is prepared."""
    await statuses(broker, head(broker) + b"\r\n" + LAST)
    assert await statuses(broker, head(broker, method) + headers + b"\r\n" + END + head(broker) + b"\r\n") == [400]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
async def test_an_odd_chunk_ends_the_connection(broker: BrokerWithoutVault, method: str, chunks: bytes) -> None:
    """A malformed body gets 400 instead of its answer, and nothing behind it is read."""
    await statuses(broker, head(broker) + b"\r\n" + LAST)
    data = head(broker, method) + CHUNKED + b"\r\n" + chunks + head(broker) + b"\r\n"
    assert await statuses(broker, data) == [400]


async def test_a_request_in_a_body_is_not_answered(broker: BrokerWithoutVault) -> None:
    """A request in the body of another one, also of one that is refused, is data; the next request is answered."""
    hidden = head(broker) + b"\r\n"
    good, wrong = head(broker, "POST"), head(broker, "POST").replace(broker.replica.key.encode(), b"itb_x_wrong")
    framed = {
        "length": b"Content-Length: %d\r\n\r\n" % len(hidden) + hidden,
        "chunk": CHUNKED + b"\r\n%x\r\n" % len(hidden) + hidden + b"\r\n" + END,
    }
    requests = {
        200: head(broker),
        400: good,
        401: wrong,
        404: good.replace(b"/token/report", b"/nowhere"),
        405: good.replace(b"POST", b"PUT"),
    }
    for status, request in requests.items():
        for body in framed.values():
            assert await statuses(broker, request + body + LAST) == [status, 200]
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    for body in framed.values():
        assert await statuses(broker, good + upgrade + body + LAST) == [400, 200]


async def test_a_body_that_is_too_large_keeps_its_place(broker: BrokerWithoutVault) -> None:
    """A body beyond the limit is refused, and none of it is taken for the next request."""
    filler = (head(broker) + b"\r\n") * 2000
    large = b"Content-Length: %d\r\n\r\n" % len(filler) + filler
    chunks = CHUNKED + b"\r\n" + b"%x\r\n" % len(filler) + filler + b"\r\n" + END
    for body in (large, chunks):
        found = await statuses(broker, head(broker, "POST") + body + LAST)
        assert found in ([400], [400, 200], [413], [413, 200])


async def test_every_spelling_of_a_query_counts_against_the_same_limit(limited: Limited) -> None:
    """However a query is spelled, and whichever endpoint is asked, the caller has no more requests than its limit."""
    replica, org = limited.broker.replica, limited.broker.tenants[0].org
    at, escaped = org.replace("@", "%40"), "".join(f"%{ord(letter):02x}" for letter in org)
    queries = [
        f"org={org}", f"org={at}", f"org={escaped}", f"org={escaped.upper()}", f"%6frg={org}", f"&org={org}",
        f"org={org}&", f"org={org}&credential=default", f"credential=default&org={org}", f"org={org}&min_ttl=0",
        f"org={org}&min_ttl=00001", f"org={org}&org={org}", f"ORG={org}", f"org={org}&x=1", f"org={org.lower()}", "",
    ]  # fmt: skip

    async def ask(path: str, query: str) -> int:
        return (await replica.get(f"{path}?{query}", key=limited.key)).status

    first = [await ask("/token", f"org={org}") for _ in range(2)]
    found = [await ask(path, query) for path in ("/token", "/headers", "//token") for query in queries]
    found.append((await replica.oauth2(org, HASTY, limited.key)).status)
    assert first == [200, 200]
    assert [status for status in found if status != 404] == [200] * (LIMIT - 2) + [429] * (2 * len(queries) - LIMIT + 3)
