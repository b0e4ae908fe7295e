"""Random requests in random segments: answers at the connection are those of ASGI, byte for byte."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from app.api.http_protocol import BoundedHttpProtocol
from app.domain.events import RequestDecided
from app.domain.identity import JwtIdentity
from app.domain.rate_limit import RateLimit
from tests.factories import ISSUER, ORG, OTHER_ORG, make_caller, make_rule
from tests.integration.test_repeated_heads import BASIC, BATCH, BATCHES, FORM, FORMS, JWT, form
from tests.integration.test_warm_connection import HEADERS, KEY, REQUESTS, SECOND_KEY, TARGET, WARM, asked
from tests.support.api_in_memory import EXPORTER, JOURNEY, OPERATOR, ApiInMemory
from tests.support.two_servers import TwoServers, two_servers, without_what_differs
from tests.support.waiting import until

SEQUENCES = 100
"""Each is sent three times."""

LONGEST = 8
"""Requests in a sequence."""

TURNS = 10
"""Of the event loop, without a further byte, in which a request that waits for its body has done all it can."""

DEADLINE = 20.0
"""Seconds for one segment."""

OTHER_TARGET = f"/token?org={OTHER_ORG}".encode()
OTHER_BASIC = b"Authorization: Basic " + b"x" * 20 + b"\r\n"
KEYS = (KEY, SECOND_KEY, JWT, BASIC, OTHER_BASIC, KEY * 2, KEY + SECOND_KEY, SECOND_KEY + KEY, b"", KEY[:-3] + b"x\r\n")
TARGETS = (TARGET, HEADERS, OTHER_TARGET, TARGET + b"&min_ttl=60", TARGET + b"#a", TARGET + b"&", b"/orgs")
LINES = (
    b"X: 1\r\n",
    b"Accept: */*\r\n",
    b"X: " + WARM.replace(b"\r\n", b" ") + b"\r\n",
    b"Authorization : Bearer x\r\n",
    b"X:\r\n Authorization: Bearer x\r\n",
    b"X-Request-Id: own\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: %d\r\n" % len(WARM),
    b"Connection: close\r\n",
    b"Transfer-Encoding: chunked\r\n",
)
ODD = tuple(
    request
    for name, request in (*REQUESTS.items(), *FORMS.items(), *BATCHES.items())
    # An upgrade is read twice, which `Watched` would count. A large head is refused wherever it becomes too large.
    if len(request) < 4096 and name not in {"upgrade", "websocket", "connect"}
)

Step = bytes | int
"""Bytes that are sent as one segment, or the number of a policy that comes into force."""


def a_request(chance: random.Random) -> bytes:
    """One that is usual, unusual, or damaged."""
    kind = chance.random()
    if kind < 0.5:
        request = chance.choice((WARM, WARM, FORM, FORM, BATCH, asked(HEADERS), asked(OTHER_TARGET, key=SECOND_KEY)))
    elif kind < 0.65:
        lines = [chance.choice(LINES) for _ in range(chance.choice((0, 0, 0, 1, 2)))]
        request = asked(chance.choice(TARGETS), *lines, key=chance.choice(KEYS))
    elif kind < 0.8:
        org = chance.choice((ORG, OTHER_ORG)).encode()
        request = form(
            b"org=" + org, key=chance.choice(KEYS), target=chance.choice((b"/oauth2/token", b"/oauth2/token?"))
        )
    else:
        request = chance.choice(ODD)
    return damaged(request, chance) if chance.random() < 0.1 else request


def damaged(request: bytes, chance: random.Random) -> bytes:
    """With a line doubled, moved, in other case or with other spaces; or with some bytes changed, added or gone."""
    head, end, body = request.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    kind, place = chance.randrange(8), chance.randrange(len(lines) + 1)
    if kind == 0 and lines:
        lines.insert(place, chance.choice(lines))
    elif kind == 1:
        chance.shuffle(lines)
    elif kind == 2 and lines:
        lines = [chance.choice((line, line.swapcase(), line.upper(), line.lower())) for line in lines]
    elif kind == 3 and lines:
        lines = [line.replace(b": ", chance.choice((b":", b":  ", b":\t", b" : "))) for line in lines]
    elif kind == 4:
        end = chance.choice((b"\n\n", b"\r\n\n", b"\n\r\n", b"\r\n"))
    else:
        at = chance.randrange(len(request))
        cut = chance.choice((0, 1, 1, 3, 20))
        added = chance.choice((b"", b"\r\n", b" ", b"\t", b"\0", b"?", b"a", request[at : at + 10], WARM))
        return request[:at] + added + request[at + cut :]
    return b"\r\n".join([first, *lines]) + end + body


def with_another_byte(request: bytes, chance: random.Random) -> bytes:
    """Of the same length, and the same except for one byte."""
    at = chance.randrange(len(request))
    return request[:at] + bytes([request[at] ^ 1]) + request[at + 1 :]


def a_sequence(chance: random.Random) -> list[Step]:
    """Requests that share segments, are split, or have one each; often the same one again."""
    requests: list[bytes] = []
    for _ in range(chance.randint(2, LONGEST)):
        repeats = requests and chance.random() < 0.5
        request = chance.choice(requests) if repeats else a_request(chance)
        requests.append(with_another_byte(request, chance) if repeats and chance.random() < 0.3 else request)
    steps: list[Step] = []
    for request in requests:
        kind = chance.random()
        if kind < 0.2 and steps and isinstance(steps[-1], bytes):
            steps[-1] += request
        elif kind < 0.4:
            cuts = sorted(chance.randrange(len(request) + 1) for _ in range(chance.randint(1, 3)))
            pieces = [request[piece] for piece in map(slice, [0, *cuts], [*cuts, None])]
            steps += [piece for piece in pieces if piece]
        else:
            steps.append(request)
        if chance.random() < 0.05:
            steps.append(chance.randrange(len(POLICIES)))
    return steps


def _usual(api: ApiInMemory, _run: int) -> None:
    api.change_policy(JOURNEY, OPERATOR, EXPORTER)


def _another_rule(api: ApiInMemory, _run: int) -> None:
    api.change_policy(make_caller("journey", make_rule(OTHER_ORG)), OPERATOR, EXPORTER)


def _another_caller(api: ApiInMemory, _run: int) -> None:
    api.change_policy(OPERATOR, EXPORTER)


def _limited(api: ApiInMemory, run: int) -> None:
    # Each run has a limit of its own, because a bucket stays as long as its caller has the same limit.
    api.change_policy(make_caller("journey", rate_limit=RateLimit(2, 3600.0 + run * 1e-6)), OPERATOR, EXPORTER)


POLICIES: Sequence[Callable[[ApiInMemory, int], None]] = (_usual, _another_rule, _another_caller, _limited)


class Watched:
    """The server's side of a connection: what it has read and written, whenever the network delivers it."""

    def __init__(self, connection: BoundedHttpProtocol) -> None:
        self._connection = connection
        self._read = 0
        self.written = b""
        self.not_parsed = 0
        """Segments that were answered without the parser."""
        data_received, write = connection.data_received, connection.transport.write

        def reading(data: bytes) -> None:
            self._read += len(data)
            headers, written = vars(connection).get("headers"), self.written
            data_received(data)
            self.not_parsed += vars(connection).get("headers") is headers and self.written != written

        def writing(data: bytes) -> None:
            self.written += data
            write(data)

        connection.data_received = reading  # type: ignore[method-assign]  # of this object alone
        connection.transport.write = writing  # type: ignore[method-assign, assignment]

    @property
    def is_closing(self) -> bool:
        """Whether it reads no more."""
        return self._connection.transport.is_closing()

    async def has_answered(self, sent: int) -> None:
        """Wait until it has read so many bytes, and answered what can be answered."""
        async with asyncio.timeout(DEADLINE):
            await until(lambda: self._read >= sent or self.is_closing, DEADLINE)
            quiet, before = 0, len(self.written)
            while quiet < TURNS:
                await asyncio.sleep(0)
                quiet = 0 if self._is_busy or len(self.written) != before else quiet + 1
                before = len(self.written)

    @property
    def _is_busy(self) -> bool:
        connection = self._connection
        waits_for_body = connection._in_body is not None and connection._in_body is connection._running
        return connection.is_answering() and not waits_for_body and not self.is_closing


class Runs:
    """Sends sequences to both servers."""

    def __init__(self, two: TwoServers) -> None:
        self._two = two
        self._number = 0
        self.not_parsed = 0
        """As of `Watched`, of all runs."""

    async def run(self, at_connection: bool, steps: Sequence[Step]) -> tuple[bytes, list[object]]:
        """All that comes back, and the decisions."""
        self._number += 1
        _usual(self._two.api, 0)
        before = len(self._two.api.sink.all)
        connections = self._two.servers[at_connection].server_state.connections
        loop, sent = asyncio.get_running_loop(), 0
        with socket.create_connection(("127.0.0.1", self._two.ports[at_connection])) as client:
            client.setblocking(False)
            await until(lambda: bool(connections))
            [connection] = connections
            assert isinstance(connection, BoundedHttpProtocol)
            watched = Watched(connection)
            for step in steps:
                if isinstance(step, int):
                    POLICIES[step](self._two.api, self._number)
                elif not watched.is_closing:
                    sent += len(step)
                    await loop.sock_sendall(client, step)
                    await watched.has_answered(sent)
            answer = watched.written + (b"<closed>" if watched.is_closing else b"")
        self.not_parsed += watched.not_parsed
        await until(lambda: not connections)
        decisions = [event.decision for event in self._two.api.sink.all[before:] if isinstance(event, RequestDecided)]
        return without_what_differs(answer), [repr(decision) for decision in decisions]


@pytest.fixture
async def runs() -> AsyncIterator[Runs]:
    """Both servers, with the answers to the usual requests prepared."""
    async with two_servers(*(asked(target) for target in (TARGET, HEADERS, TARGET + b"&min_ttl=60"))) as two:
        two.api.verifier.known[b"eyJ.a.b"] = JwtIdentity(ISSUER.issuer, "exporter", two.api.clock() + 1e6)
        yield Runs(two)


async def test_random_requests_in_random_segments(runs: Runs) -> None:
    """Answers, decisions and ends of connections are the same; many are answered without the parser."""
    for number in range(SEQUENCES):
        steps = a_sequence(random.Random(number))
        await runs.run(False, steps)  # Tokens are minted, and answers prepared.
        here, there = await runs.run(True, steps), await runs.run(False, steps)
        assert here == there, (number, steps)
    assert runs.not_parsed > SEQUENCES / 4
