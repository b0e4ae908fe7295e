"""The outermost ASGI app: request ids, limits, unexpected errors, and what it passes on."""

from __future__ import annotations

import asyncio
import logging
import re

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from typing_extensions import override

from app.api.app import Api
from app.api.door import Door
from app.api.limits import Limits
from app.api.problems import problem_response
from app.domain.errors import InvalidRequestError
from app.domain.events import RequestDecided
from app.domain.rate_limit import RateLimit
from tests.factories import ORG, OTHER_ORG, make_caller, make_rule
from tests.support.api_in_memory import TOKEN, ApiInMemory, bearer
from tests.support.asgi_client import AsgiResponse, Body, send

REPORT = f"/token/report?org={ORG}"
FORM = ("Content-Type", "application/x-www-form-urlencoded")
HASH = b'{"token_sha256": "%b"}' % (b"a" * 64)
SANE = re.compile(r"[A-Za-z0-9._-]{1,64}")


def door_to(inner: ASGIApp) -> Door:
    """A door in front of another app."""
    api = ApiInMemory()
    return Door(Api(inner, {}, {}), api.sink, api.clock, lambda: "new-id", lambda: False)


class Silent(Body):
    """A body that never arrives; `awaited` is set when the app waits for it."""

    def __init__(self) -> None:
        super().__init__([])
        self.awaited = asyncio.Event()

    @override
    async def receive(self) -> Message:
        self.awaited.set()
        return await super().receive()


async def reading(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that answers with the size of the request's body, or with the error of reading it."""
    try:
        response = Response(str(len(await Request(scope, receive).body())))
    except InvalidRequestError as error:
        response = problem_response(error, scope["state"]["request_id"])
    await response(scope, receive, send)


async def one_of_each(api: ApiInMemory, *headers: tuple[str, str]) -> list[AsgiResponse]:
    """Answers of every sort: long, warm, refused, unknown, not allowed, for operators, in OAuth's form, unexpected."""
    answers = [await api.get(target, *headers) for target in (TOKEN, TOKEN, "/token", "/nothing", "/livez", "/readyz")]
    answers.append(await api.ask("PATCH", "/token", *headers))
    answers.append(await api.ask("DELETE", TOKEN, *headers, caller="operator"))
    answers.append(await api.form({"grant_type": "client_credentials"}, *headers))
    api.world.store.failure = RuntimeError("unexpected")
    answers.append(await api.get(f"/headers?org={OTHER_ORG}", *headers, caller="operator"))
    assert [answer.status for answer in answers] == [200, 200, 400, 404, 200, 503, 405, 204, 401, 500]
    return answers


@pytest.mark.parametrize("own", ["7", "a" * 64, "3f2a.b-c_D", "0f8fad5b-d9cb-469f-a165-70867728950e"])
async def test_a_sane_request_id_of_the_caller_is_kept_on_every_answer(api: ApiInMemory, own: str) -> None:
    """It is in the header exactly once, in the body of a refusal and in the event."""
    for answer in await one_of_each(api, ("X-Request-Id", own)):
        assert answer.header("x-request-id") == own
        if answer.status >= 400:
            assert answer.json["request_id"] == own
    assert {event.request_id for event in api.sink.of(RequestDecided)} == {own}


@pytest.mark.parametrize(
    "odd", ["", " ", "a" * 65, "a b", "a/b", "a,b", 'a"', "a\n", "a\r\nX-Evil: 1", "<b>", "é", "\x00", "{}"]
)
async def test_an_odd_request_id_is_replaced(api: ApiInMemory, odd: str) -> None:
    """An id that is too long, or has a character that could harm a header or a log, is replaced with a new one."""
    for answer in await one_of_each(api, ("X-Request-Id", odd)):
        assert SANE.fullmatch(answer.header("x-request-id") or "")
    assert all(SANE.fullmatch(event.request_id) for event in api.sink.of(RequestDecided))


async def test_new_request_ids_are_unique_and_in_the_events(api: ApiInMemory) -> None:
    """A caller that sends none gets a different one with every answer."""
    answers = await one_of_each(api)
    ids = [answer.header("x-request-id") for answer in answers]
    assert len(set(ids)) == len(ids)
    assert {event.request_id for event in api.sink.of(RequestDecided)} < set(ids)


@pytest.mark.parametrize(
    "path", ["/", "/tokens/", "/token/", "//token", "/TOKEN", "/token/x", "/docs", "/redoc", "/token%00", "/%2e%2e/etc"]
)
async def test_an_unknown_path_is_404_whatever_the_method(api: ApiInMemory, path: str) -> None:
    """The answer is a problem document with a constant text; no trailing slash is added or removed."""
    for method in ("GET", "POST", "PROPFIND"):
        answer = await api.ask(method, f"{path}?org={ORG}")
        assert (answer.status, answer.code) == (404, "not_found")
        assert answer.json["detail"] == "There is nothing at this path. See /openapi.json."


async def test_another_method_is_405_even_if_get_is_warm(api: ApiInMemory) -> None:
    """Only GET and HEAD vend a token, on the warm path too."""
    assert (await api.get()).status == 200
    for method in ("POST", "PUT", "OPTIONS", "get"):
        answer = await api.ask(method, TOKEN)
        assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert len(api.sink.of(RequestDecided)) == 1


@pytest.mark.parametrize(
    ("target", "caller"),
    [
        (TOKEN, "journey"),
        ("/orgs", "operator"),
        ("/orgs", "journey"),
        *((path, None) for path in ("/livez", "/readyz", "/metrics", "/openapi.json", TOKEN)),
        ("/.well-known/oauth-authorization-server", None),
    ],
)
async def test_head_is_answered_like_get(api: ApiInMemory, target: str, caller: str | None) -> None:
    """Status and headers of HEAD are those of GET, warm and cold, and the same decision is reported."""
    extra = (("X-Request-Id", "same"), ("Host", "broker.test"))
    await api.get(target, *extra, caller=caller)
    got, head = [await api.ask(method, target, *extra, caller=caller) for method in ("GET", "HEAD")]
    assert (head.status, sorted(head.headers)) == (got.status, sorted(got.headers))
    decisions = [repr(event.decision) for event in api.sink.of(RequestDecided)]
    assert decisions[1:2] == decisions[2:]


async def test_head_of_a_token_counts_against_the_rate_limit() -> None:
    """HEAD and GET of a warm token count the same, so the third request is over a limit of two."""
    api = ApiInMemory(make_caller("journey", make_rule(), rate_limit=RateLimit(2, 3600.0)))
    assert [(await api.ask(method, TOKEN)).status for method in ("GET", "HEAD", "HEAD")] == [200, 200, 429]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/token", "DELETE, GET, HEAD"),
        ("/token/report", "POST"),
        ("/oauth2/token", "POST"),
        *((path, "GET, HEAD") for path in ("/orgs", "/livez", "/readyz", "/metrics")),
        ("/.well-known/oauth-authorization-server", "GET, HEAD"),
        ("/openapi.json", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_is_405_and_lists_the_right_ones(api: ApiInMemory, path: str, allowed: str) -> None:
    """RFC 9110 section 15.5.6: `Allow` names every method of the path, of all its routes together."""
    answer = await api.ask("PATCH", path)
    assert (answer.status, answer.code, answer.header("allow")) == (405, "method_not_allowed", allowed)


async def test_two_authorization_headers_never_take_the_warm_path(api: ApiInMemory) -> None:
    """Two or three headers, with the valid one first or last, are refused like any others."""
    assert (await api.get()).status == 200
    empty = ("Authorization", "")
    for headers in ([bearer()] * 2, [bearer()] * 3, [empty, bearer()], [bearer(), empty], [empty, empty, bearer()]):
        assert (await api.get(TOKEN, *headers, caller=None)).code == "unauthenticated"


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", TOKEN), ("PROPFIND", f"/headers?org={ORG}"), ("POST", REPORT), ("GET", "/orgs"), ("DELETE", TOKEN)],
)
async def test_an_unexpected_error_is_a_constant_500(
    api: ApiInMemory, caplog: pytest.LogCaptureFixture, method: str, target: str
) -> None:
    """The answer contains nothing of the error; the log has it once, with the request id that the caller got."""
    api.verifier.failure = RuntimeError("canary of the error")
    answer = await api.ask(method, target, ("Authorization", "Bearer eyJ.a.b"), caller=None, body=b"{}")
    assert (answer.status, answer.code) == (500, "internal_error")
    assert answer.json["detail"] == "The broker failed unexpectedly. Search its log for the request id."
    assert answer.json["retryable"] is False
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.__dict__["request_id"] == answer.header("x-request-id")
    assert record.exc_info is not None
    assert record.exc_info[1] is api.verifier.failure


async def test_an_app_that_fails_before_it_answers_gives_a_500() -> None:
    """The door answers for any app that raises."""

    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise KeyError("canary")

    answer = await send(door_to(failing), "GET", "/any")
    assert (answer.status, answer.code) == (500, "internal_error")
    assert b"canary" not in answer.body


async def test_an_app_that_fails_after_it_began_to_answer_gets_no_second_answer() -> None:
    """The incomplete answer is left as it is: a second start would make it worse."""

    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise KeyError("canary")

    answer = await send(door_to(failing), "GET", "/any")
    assert (answer.status, answer.headers, answer.body) == (200, (("x-request-id", "new-id"),), b"")


async def test_a_body_has_an_exact_limit_and_is_not_read_beyond_it() -> None:
    """64 KiB are accepted, in any chunks; one byte more is refused, and the rest is not read."""
    half = b"x" * (Limits().body_bytes // 2)
    answer = await send(door_to(reading), "POST", "/", body=Body([half, half]))
    assert answer.body == str(Limits().body_bytes).encode()
    body = Body([half, half, b"x", b"unread", b"unread"])
    answer = await send(door_to(reading), "POST", "/", body=body)
    assert answer.code == "invalid_request"
    assert await body.receive() == {"type": "http.request", "body": b"unread", "more_body": True}


async def test_a_body_that_does_not_arrive_is_refused(api: ApiInMemory) -> None:
    """A client that stalls in its body gets an error in the endpoint's form; it counts as one request."""
    api.limit(Limits(body_seconds=0.01))
    report = await api.ask("POST", REPORT, body=Body([b'{"token_'], stalls=True))
    assert (report.status, report.code) == (400, "invalid_request")
    form = await api.ask("POST", "/oauth2/token", FORM, caller=None, body=Body([b"grant_"], stalls=True))
    assert (form.status, form.json["error"]) == (400, "invalid_request")
    assert api.sink.outcomes == ["invalid_request"] * 2


async def test_requests_beyond_the_limit_are_refused_but_the_replica_is_alive(api: ApiInMemory) -> None:
    """One more request on the long path gets 503 with Retry-After; warm requests and probes are still answered."""
    api.limit(Limits(waiting=2))
    api.readiness.ready = True
    assert (await api.get(f"/token?org={OTHER_ORG}", caller="operator")).status == 200
    calls = api.world.exchanger.calls(ORG)
    calls.pause()
    waiting = [asyncio.create_task(api.get()) for _ in range(2)]
    await calls.one_waits()
    answer = await api.get(f"/token?org={OTHER_ORG}")
    assert (answer.status, answer.code, answer.header("retry-after")) == (503, "overloaded", "1")
    assert api.sink.outcomes == ["vended", "overloaded"]
    oauth2 = await api.form({"grant_type": "client_credentials"})
    assert (oauth2.status, oauth2.json["error"], oauth2.header("retry-after")) == (503, "temporarily_unavailable", "1")
    assert (oauth2.header("content-type"), oauth2.header("pragma")) == ("application/json", "no-cache")
    assert api.sink.of(RequestDecided)[1].request_id == answer.header("x-request-id")
    probes = [await api.get(path, caller=None) for path in ("/livez", "/readyz", "/metrics")]
    warm = await api.get(f"/token?org={OTHER_ORG}", caller="operator")
    assert [answer.status for answer in (*probes, warm)] == [200] * 4
    calls.resume()
    assert [(await task).status for task in waiting] == [200, 200]
    assert (await api.get(f"/token?org={OTHER_ORG}")).code == "forbidden"


async def test_a_full_audit_log_refuses_requests_but_not_probes(api: ApiInMemory) -> None:
    """If no line may be lost and there is no room for one, cold and warm requests get 503 in the endpoint's form."""
    api.readiness.ready = True
    assert (await api.get()).status == 200
    api.audit_is_full = True
    for answer in (await api.get(), await api.get("/orgs"), await api.ask("DELETE", TOKEN, caller="operator")):
        assert (answer.status, answer.code, answer.header("retry-after")) == (503, "overloaded", "1")
    form = await api.form({"grant_type": "client_credentials"})
    assert (form.status, form.json["error"]) == (503, "temporarily_unavailable")
    probes = [await api.get(path, caller=None) for path in ("/livez", "/readyz", "/metrics")]
    assert [answer.status for answer in probes] == [200] * 3
    assert api.sink.outcomes == ["vended", *["overloaded"] * 4]
    api.audit_is_full = False
    assert (await api.get()).status == 200


async def test_a_client_that_does_not_read_its_answer_takes_no_place_of_waiting_requests() -> None:
    """The place of a request is free once its answer begins: what follows waits for the client alone."""
    door, began, read = door_to(Response(b"answer")), asyncio.Event(), asyncio.Event()

    async def not_read(_message: Message) -> None:
        began.set()
        await read.wait()

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
    answering = asyncio.create_task(door(scope, Body([b""]).receive, not_read))
    await asyncio.wait_for(began.wait(), 5.0)
    assert door.waiting == 0
    read.set()
    await answering
    assert door.waiting == 0


async def test_bodies_that_do_not_arrive_do_not_block_other_requests(api: ApiInMemory) -> None:
    """Requests that wait for a body are counted separately; if there are too many, the oldest one is refused."""
    api.limit(Limits(waiting=1, bodies=1))
    silent = Silent()
    stalled = asyncio.create_task(api.ask("POST", REPORT, body=silent))
    await asyncio.wait_for(silent.awaited.wait(), 5.0)
    assert (await api.get()).status == 200
    assert (await api.ask("POST", REPORT, body=HASH)).status == 200
    ended = await stalled
    assert (ended.status, ended.code) == (400, "invalid_request")
    assert (await api.ask("POST", REPORT, body=HASH)).status == 200


async def test_a_request_that_has_ended_no_longer_counts(api: ApiInMemory) -> None:
    """A request that failed or was cancelled makes room for the next."""
    api.limit(Limits(waiting=1))
    api.verifier.failure = RuntimeError("unexpected")
    assert (await api.get(TOKEN, ("Authorization", "Bearer eyJ.a.b"), caller=None)).status == 500
    calls = api.world.exchanger.calls(ORG)
    calls.pause()
    gone = asyncio.create_task(api.get())
    await calls.one_waits()
    gone.cancel()
    await asyncio.wait([gone])
    calls.resume()
    assert (await api.get()).status == 200


async def test_the_lifespan_is_passed_through() -> None:
    """Scope, receive and send reach the app behind the door unchanged."""
    seen: list[object] = []

    async def inner(*arguments: object) -> None:
        seen.extend(arguments)

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def ignore(message: Message) -> None:
        """No one listens."""

    scope = {"type": "lifespan"}
    await door_to(inner)(scope, receive, ignore)
    assert [id(argument) for argument in seen] == [id(scope), id(receive), id(ignore)]
    assert scope == {"type": "lifespan"}
