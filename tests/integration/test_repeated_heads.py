"""Header fields that a connection remembers: never parsed otherwise, and never answered by an old decision."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlencode

import httptools
import pytest

from app.api.warm_connection import MAX_REMEMBERED_BYTES, WarmConnection
from app.domain.events import RequestDecided
from app.domain.identity import JwtIdentity
from app.domain.rate_limit import RateLimit
from tests.factories import ISSUER, ORG, OTHER_ORG, REF, make_api_key, make_caller, make_rule
from tests.fakes import DAY
from tests.integration.test_warm_connection import COLD, HEADERS, KEY, REQUESTS, TARGET, WARM, asked
from tests.support.api_in_memory import EXPORTER, ApiInMemory
from tests.support.two_servers import TwoServers, two_servers, without_what_differs
from tests.support.waiting import until
from tests.support.wire import Connection, connected

FORM_TYPE = b"Content-Type: application/x-www-form-urlencoded\r\n"
BASIC = b"Authorization: Basic " + base64.b64encode(f"journey:{make_api_key('journey')}".encode()) + b"\r\n"
IN_FORM = urlencode({"client_id": "journey", "client_secret": make_api_key("journey"), "org": ORG}).encode()


def form(
    body: bytes = b"org=" + ORG.encode(),
    *lines: bytes,
    key: bytes = BASIC,
    kind: bytes = FORM_TYPE,
    target: bytes = b"/oauth2/token",
) -> bytes:
    """A form for a token."""
    body = b"grant_type=client_credentials&" + body
    size = b"Content-Length: %d\r\n" % len(body)
    return asked(target, kind, size, *lines, method=b"POST", key=key) + body


FORM = form()

FORMS: dict[str, bytes] = {
    "form": FORM,
    "secret in the form": form(IN_FORM, key=b""),
    "other form": form(b"org=" + ORG.encode().replace(b"@", b"%40")),
    "other org": form(b"org=" + OTHER_ORG.encode()),
    "org in the query": form(b"a=b", target=f"/oauth2/token?org={ORG}".encode()),
    "unknown field": form(b"a=b&org=" + ORG.encode()),
    "charset": form(kind=FORM_TYPE.replace(b"\r\n", b"; charset=UTF-8\r\n")),
    "no type": form(kind=b""),
    "two types": form(kind=FORM_TYPE * 2),
    "json": form(kind=b"Content-Type: application/json\r\n"),
    "no key": form(key=b""),
    "wrong key": form(key=BASIC[:-6] + b"AAAA\r\n"),
    "two keys": form(key=BASIC * 2),
    "bearer": form(key=KEY),
    "wrong grant": form(b"grant_type=password"),
    "two forms": FORM * 2,
    "form then get": FORM + WARM,
    "get then form": WARM + FORM,
    "own id": form(b"org=" + ORG.encode(), b"X-Request-Id: own\r\n"),
    "close": form(b"org=" + ORG.encode(), b"Connection: close\r\n"),
    "keep-alive": form(b"org=" + ORG.encode(), b"Connection: keep-alive\r\n"),
    "expect": form(b"org=" + ORG.encode(), b"Expect: 100-continue\r\n"),
    "put": FORM.replace(b"POST ", b"PUT "),
    "http 1.0": FORM.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "two lengths": form(b"org=" + ORG.encode(), b"Content-Length: 1\r\n"),
    "no body": asked(b"/oauth2/token", FORM_TYPE, b"Content-Length: 0\r\n", method=b"POST", key=BASIC),
    "no length": asked(b"/oauth2/token", FORM_TYPE, method=b"POST", key=BASIC),
    "chunked": asked(b"/oauth2/token", FORM_TYPE, b"Transfer-Encoding: chunked\r\n", method=b"POST", key=BASIC)
    + b"1\r\na\r\n0\r\n\r\n",
    "short": FORM[:-1],
    "long": FORM + b"x",
}


def batch(*items: object, key: bytes = KEY, target: bytes = b"/tokens", line: bytes = b"") -> bytes:
    """A request for several tokens."""
    body = json.dumps({"items": items}).encode()
    return asked(target, b"Content-Length: %d\r\n" % len(body), line, method=b"POST", key=key) + body


ITEM = {"org": ORG}
BATCH = batch(ITEM, {"org": ORG, "min_ttl": 60})

BATCHES: dict[str, bytes] = {
    "batch": BATCH,
    "largest batch": batch(*[ITEM] * 100),
    "too large batch": batch(*[ITEM] * 101),
    "empty batch": batch(),
    "denied item": batch(ITEM, {"org": "1" * 24 + "@AdobeOrg"}),
    "malformed item": batch(ITEM, {"org": "nonsense"}),
    "item of another shape": batch(ITEM, {"org": ORG, "more": 1}),
    "item without a credential": batch(ITEM, {"org": ORG, "credential": "absent"}),
    "not json": BATCH[:-1] + b"x",
    "batch with a query": batch(ITEM, target=b"/tokens?a=b"),
    "batch of a wrong key": batch(ITEM, key=KEY[:-6] + b"AAAA\r\n"),
    "batch of two keys": batch(ITEM, key=KEY * 2),
    "batch without a key": batch(ITEM, key=b""),
    "batch with basic": batch(ITEM, key=BASIC),
    "batch with own id": batch(ITEM, line=b"X-Request-Id: own\r\n"),
    "batch that ends": batch(ITEM, line=b"Connection: close\r\n"),
    "put of a batch": BATCH.replace(b"POST ", b"PUT "),
    "two batches": BATCH * 2,
    "batch then form": BATCH + FORM,
    "short batch": BATCH[:-1],
}

JWT = b"Authorization: Bearer eyJ.a.b\r\n"
EARLY = asked(HEADERS, b"Content-Length: %d\r\n" % (len(WARM) - 4), method=b"POST")
"""It is answered before its body is read."""
FORM_HEAD = FORM.replace(b"Host: broker.test\r\n", b"Host: other.test\r\n").partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
EARLY_FORM = asked(HEADERS, b"Content-Length: %d\r\n" % len(FORM_HEAD), method=b"POST")
BODY_LIKE_A_REQUEST = asked(TARGET, b"Content-Length: %d\r\n" % len(WARM))


@pytest.fixture
async def two() -> AsyncIterator[TwoServers]:
    """Both servers, with the answers to the usual requests prepared."""
    async with two_servers(*(asked(target) for target in (TARGET, HEADERS, TARGET + b"&min_ttl=60"))) as made:
        yield made


@pytest.fixture
async def repeating(two: TwoServers) -> AsyncIterator[Connection]:
    """A connection that has remembered the fields of `WARM`."""
    async with connected(two.ports[True]) as connection:
        assert (await connection.request(WARM)).status == 200
        assert the_connection(two)._fields == WARM.removeprefix(b"GET " + TARGET)
        yield connection


def the_connection(two: TwoServers) -> WarmConnection:
    """The server's side of the only connection."""
    [connection] = two.servers[True].server_state.connections
    assert isinstance(connection, WarmConnection)
    return connection


@pytest.mark.parametrize("name", [*FORMS, *BATCHES])
async def test_a_body_after_the_same_one_is_answered_as_through_asgi(two: TwoServers, name: str) -> None:
    """Sent three times, and among others: the same bytes and decisions as through ASGI."""
    request = {**FORMS, **BATCHES}[name]
    for pieces in ([FORM, request, FORM], [BATCH, request, BATCH], [request] * 3 + [WARM]):
        here = await two.exchange_in_turns(True, *pieces)
        there = await two.exchange_in_turns(False, *pieces)
        assert without_what_differs(here[0]) == without_what_differs(there[0])
        assert here[1] == there[1]


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_request_after_the_same_one_is_answered_as_through_asgi(two: TwoServers, name: str) -> None:
    """Whatever is sent between warm requests, and sent twice: the same bytes and decisions as through ASGI."""
    pieces = [WARM, REQUESTS[name], REQUESTS[name], WARM]
    here = await two.exchange_in_turns(True, *pieces)
    there = await two.exchange_in_turns(False, *pieces)
    assert without_what_differs(here[0]) == without_what_differs(there[0])
    assert here[1] == there[1]


@pytest.mark.parametrize(
    "pieces",
    [
        [WARM, BODY_LIKE_A_REQUEST, WARM, WARM],
        [WARM, asked(method=b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 9\r\n\r\n"), b"123456789", WARM],
        [WARM, asked(b"/orgs", b"Content-Length: %d\r\n" % len(WARM)), WARM, WARM],
        [WARM, WARM[:20], WARM[20:], WARM],
        [WARM, WARM[:-2], WARM, b"\r\n"],
        [WARM, WARM[:-1], WARM],
        [WARM, b"\r\n", WARM],
        [WARM, b"\r", WARM],
        [WARM, WARM + b"G", WARM[1:], WARM],
        [WARM, WARM + b"\r\n", WARM + b"\r\n", WARM],
        [WARM, COLD, WARM],
        [WARM, COLD + WARM[:30], WARM[30:], WARM],
        [WARM, asked(b"a.example:443", method=b"CONNECT"), WARM],
        # The first part is answered before its body arrives. The end of the body looks like a warm request.
        [EARLY + WARM[:-4], WARM, WARM[:-4] + WARM],
        [EARLY + b"x", WARM[: len(WARM) - 5] + WARM, WARM[: len(WARM) - 5] + WARM],
        [EARLY_FORM, FORM_HEAD + FORM, FORM_HEAD + FORM],
        [FORM, FORM[:100], FORM[100:], FORM],
        [BATCH, BATCH, BATCH[:100], BATCH[100:], BATCH],
        [BATCH, BATCH, BATCH.partition(b"\r\n\r\n")[0] + b"\r\n\r\n", BATCH.partition(b"\r\n\r\n")[2], BATCH],
        [FORM, FORM.partition(b"\r\n\r\n")[0] + b"\r\n\r\n", FORM.partition(b"\r\n\r\n")[2], FORM],
        [WARM, asked(b""), asked(b" "), WARM],
        [WARM, b"GET" + WARM.removeprefix(b"GET " + TARGET), WARM],
        [WARM, asked(TARGET + b" HTTP/1.1\r\nX: GET /"), WARM],
        [WARM, asked(TARGET + b"\r\n\r\nGET " + TARGET), WARM],
        [WARM, asked(TARGET + b"\n"), WARM],
        [WARM, asked(TARGET + b"#a"), asked(TARGET + b"#a"), WARM],
    ],
    ids=str,
)
async def test_only_a_whole_request_is_answered_from_memory(two: TwoServers, pieces: list[bytes]) -> None:
    """In a body, after a part of a request, or with a target that is none, they mean what the parser says."""
    here = await two.exchange_in_turns(True, *pieces)
    there = await two.exchange_in_turns(False, *pieces)
    assert without_what_differs(here[0]) == without_what_differs(there[0])
    assert here[1] == there[1]


async def test_the_same_fields_are_not_parsed_again(two: TwoServers, repeating: Connection) -> None:
    """Neither with the same target nor with another known one; each answer has an id of its own, and an event."""
    before = len(two.api.sink.of(RequestDecided))
    the_connection(two).parser = None  # type: ignore[assignment]  # a call of it would fail
    replies = [await repeating.request(request) for request in (WARM, asked(HEADERS), WARM)]
    assert [reply.status for reply in replies] == [200] * 3
    assert [bool(reply.body) for reply in replies] == [True, False, True]
    ids = [event.request_id for event in two.api.sink.of(RequestDecided)[before:]]
    assert [reply.header("x-request-id") for reply in replies] == ids
    assert len(set(ids)) == 3
    the_connection(two).parser = httptools.HttpRequestParser(the_connection(two))


async def test_forms_of_the_same_head_are_not_parsed_again(two: TwoServers) -> None:
    """The body is looked up by its hash; one that is not known goes to the parser."""
    other = FORM.replace(ORG.encode(), ORG.lower().encode()[:-1] + b"g")
    async with connected(two.ports[True]) as connection:
        for _ in range(2):
            assert (await connection.request(FORM)).status == 200
        parser = the_connection(two).parser
        the_connection(two).parser = None  # type: ignore[assignment]  # a call of it would fail
        replies = [await connection.request(FORM) for _ in range(2)]
        assert [reply.status for reply in replies] == [200] * 2
        assert replies[0].header("x-request-id") != replies[1].header("x-request-id")
        the_connection(two).parser = parser
        assert len(other) == len(FORM)
        assert (await connection.request(other)).status == 400


async def test_batches_of_the_same_head_are_not_parsed_again(two: TwoServers) -> None:
    """Each item is decided again; a batch with an item that is not known goes to the parser."""
    other = BATCH.replace(ORG.encode(), OTHER_ORG.encode(), 1)
    async with connected(two.ports[True]) as connection:
        for _ in range(2):
            assert (await connection.request(BATCH)).status == 200
        parser = the_connection(two).parser
        the_connection(two).parser = None  # type: ignore[assignment]  # a call of it would fail
        before = len(two.api.sink.of(RequestDecided))
        replies = [await connection.request(BATCH) for _ in range(2)]
        assert [[item["org_id"] for item in reply.json["items"]] for reply in replies] == [[ORG, ORG]] * 2
        events = two.api.sink.of(RequestDecided)[before:]
        assert [event.decision.outcome for event in events] == ["vended", "vended", "done"] * 2
        ids = [reply.header("x-request-id") for reply in replies]
        assert [event.request_id for event in events] == [ids[0]] * 3 + [ids[1]] * 3
        the_connection(two).parser = parser
        assert len(other) == len(BATCH)
        items = (await connection.request(other)).json["items"]
        assert [item.get("status") for item in items] == [403, None]


@pytest.mark.parametrize(
    "request_bytes",
    [
        asked(TARGET, b"X-Request-Id: own\r\n"),
        WARM * 2,
        WARM + b"\r\n",
        asked(TARGET, b"X: " + b"v" * MAX_REMEMBERED_BYTES + b"\r\n"),
        COLD,
        asked(method=b"HEAD"),
    ],
    ids=["own id", "two", "more than one", "long", "cold", "head"],
)
async def test_other_requests_are_not_remembered(two: TwoServers, request_bytes: bytes) -> None:
    """Only one whole warm GET that was a segment of its own, without an id, and of a limited size."""
    async with connected(two.ports[True]) as connection:
        assert (await connection.request(WARM)).status == 200
        assert the_connection(two)._fields
        await connection.send(request_bytes)
        await until(lambda: not the_connection(two)._fields)


def _policy_without_the_rule(api: ApiInMemory) -> None:
    api.change_policy(make_caller("journey", make_rule(OTHER_ORG)))


def _policy_without_the_key(api: ApiInMemory) -> None:
    api.change_policy(make_caller("journey", make_rule(ORG), api_keys=()))


def _policy_without_the_caller(api: ApiInMemory) -> None:
    api.change_policy(EXPORTER)


def _policy_with_a_limit_that_is_used_up(api: ApiInMemory) -> None:
    api.change_policy(make_caller("journey", rate_limit=RateLimit(1, 3600.0)))


def _audit_log_full(api: ApiInMemory) -> None:
    api.audit_is_full = True


@pytest.mark.parametrize(
    ("change", "statuses", "of_form"),
    [
        (_policy_without_the_rule, [403, 403], [400, 400]),
        (_policy_without_the_key, [401, 401], [401, 401]),
        (_policy_without_the_caller, [401, 401], [401, 401]),
        (_policy_with_a_limit_that_is_used_up, [200, 429], [200, 429]),
        (_audit_log_full, [503, 503], [503, 503]),
    ],
)
@pytest.mark.parametrize("is_form", [False, True])
async def test_remembered_bytes_never_outlive_a_decision(
    two: TwoServers,
    change: Callable[[ApiInMemory], None],
    statuses: list[int],
    of_form: list[int],
    is_form: bool,
) -> None:
    """The next request on the connection is decided under what is in force now."""
    request = FORM if is_form else WARM
    async with connected(two.ports[True]) as repeating:
        for _ in range(3):
            assert (await repeating.request(request)).status == 200
        change(two.api)
        assert [(await repeating.request(request)).status for _ in range(2)] == (of_form if is_form else statuses)


@pytest.mark.parametrize("at_connection", [True, False], ids=["at the connection", "asgi"])
async def test_a_malformed_batch_with_a_remembered_head_counts_once(two: TwoServers, at_connection: bool) -> None:
    """The connection leaves it to ASGI, and it is counted there, once: a limit of two admits two."""
    malformed = BATCH[:-1] + b"x"
    async with connected(two.ports[at_connection]) as repeating:
        for _ in range(3):
            assert (await repeating.request(BATCH)).status == 200
        two.api.change_policy(make_caller("journey", rate_limit=RateLimit(2, 3600.0)))
        assert [(await repeating.request(malformed)).status for _ in range(3)] == [400, 400, 429]


async def _purged(api: ApiInMemory) -> None:
    await api.replica.purges.purge(REF)


async def _expired(api: ApiInMemory) -> None:
    api.clock.advance(DAY + 1)


@pytest.mark.parametrize(
    ("change", "statuses"),
    [
        (_policy_without_the_rule, [[403, 403]] * 2),
        (_policy_without_the_key, [401, 401]),
        (_policy_without_the_caller, [401, 401]),
        (_policy_with_a_limit_that_is_used_up, [[None, 429], [429, 429]]),
        (_audit_log_full, [503, 503]),
    ],
)
async def test_a_remembered_head_of_a_batch_never_outlives_a_decision(
    two: TwoServers, change: Callable[[ApiInMemory], None], statuses: list[object]
) -> None:
    """The items of the next batch on the connection are decided under what is in force now."""
    async with connected(two.ports[True]) as repeating:
        for _ in range(3):
            assert (await repeating.request(BATCH)).status == 200
        change(two.api)
        answers = [(await repeating.request(BATCH)).json for _ in range(2)]
        found = [[item.get("status") for item in one["items"]] if "items" in one else one["status"] for one in answers]
        assert found == statuses


@pytest.mark.parametrize("end", [_purged, _expired])
async def test_a_remembered_head_of_a_batch_never_gets_an_old_token(
    two: TwoServers, end: Callable[[ApiInMemory], Awaitable[None]]
) -> None:
    """After a purge, and after its end, the old token is in no item."""
    async with connected(two.ports[True]) as repeating:
        old = [(await repeating.request(BATCH)).json["items"][0]["access_token"] for _ in range(3)][-1]
        await end(two.api)
        for _ in range(2):
            assert old not in {item["access_token"] for item in (await repeating.request(BATCH)).json["items"]}


@pytest.mark.parametrize("end", [_purged, _expired])
@pytest.mark.parametrize("request_bytes", [WARM, FORM], ids=["get", "form"])
async def test_remembered_bytes_never_get_an_old_token(
    two: TwoServers, request_bytes: bytes, end: Callable[[ApiInMemory], Awaitable[None]]
) -> None:
    """After a purge, and after its end, the old token is not handed out again."""
    async with connected(two.ports[True]) as repeating:
        old = [(await repeating.request(request_bytes)).json["access_token"] for _ in range(3)][-1]
        await end(two.api)
        for _ in range(2):
            assert (await repeating.request(request_bytes)).json["access_token"] != old


async def test_remembered_fields_end_with_the_jwt_in_them(two: TwoServers) -> None:
    """A JWT that has expired is verified again, however often it was seen on the connection."""
    two.api.verifier.known[b"eyJ.a.b"] = JwtIdentity(ISSUER.issuer, "exporter", two.api.clock() + 30)
    request = asked(TARGET, key=JWT)
    async with connected(two.ports[True]) as connection:
        for _ in range(3):
            assert (await connection.request(request)).status == 200
        assert the_connection(two)._fields
        two.api.clock.advance(30)
        del two.api.verifier.known[b"eyJ.a.b"]
        assert (await connection.request(request)).status == 401


async def test_another_key_is_another_caller(two: TwoServers, repeating: Connection) -> None:
    """One byte of a remembered key changed is refused; the remembered one still works on the same connection."""
    assert (await repeating.request(WARM.replace(KEY, KEY[:-3] + b"x\r\n"))).status == 401
    assert (await repeating.request(WARM)).status == 200


async def test_the_end_of_the_server_is_announced_to_remembered_fields(two: TwoServers, repeating: Connection) -> None:
    """The next answer says ``Connection: close``."""
    server = two.servers[True]
    server.should_exit = True
    await until(lambda: not server.servers[0].is_serving())
    assert (await repeating.request(WARM)).header("connection") == "close"
    await until(lambda: repeating.ended)


async def test_each_use_begins_the_keep_alive_timeout_again(two: TwoServers) -> None:
    """A connection in use stays; an idle one is closed one timeout after its last answer."""
    two.servers[True].config.timeout_keep_alive = 1
    loop = asyncio.get_running_loop()
    async with connected(two.ports[True]) as connection:
        sent = 0.0
        for _ in range(5):
            sent = loop.time()
            assert (await connection.request(WARM)).status == 200
            await asyncio.sleep(0.4)
        await until(lambda: connection.ended)
        assert loop.time() - sent >= 1.0
