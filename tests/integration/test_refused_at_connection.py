"""Refusals at the connection: the bytes, the events and the limits of the way through ASGI, and nothing is kept."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlencode

import pytest

from app.api.caller_gate import CallerGate
from app.api.failing_sources import REFUSALS_OF_A_SOURCE, FailingSources
from app.domain.errors import UnauthenticatedError
from app.domain.events import CallerRefused, Event, RequestDecided
from app.domain.identity import JwtIdentity
from app.domain.policy import Policy
from app.domain.rate_limit import RateLimit
from app.domain.refusal_reason import RefusalReason, SignedFor
from app.process.correlation import REQUEST_ID
from tests.factories import ISSUER, ORG, OTHER_ORG, make_api_key, make_caller, make_rule
from tests.integration.test_repeated_heads import form, the_connection
from tests.integration.test_warm_connection import HEADERS, KEY, TARGET, WARM, asked
from tests.support.api_in_memory import JOURNEY, OPERATOR, ApiInMemory
from tests.support.two_servers import TwoServers, two_servers, without_what_differs
from tests.support.wire import connected

OTHER = f"/token?org={OTHER_ORG}".encode()
ENDED = make_caller("ended")


def bearer(credential: bytes) -> bytes:
    """An Authorization header."""
    return b"Authorization: Bearer " + credential + b"\r\n"


def key_of(name: str) -> bytes:
    """The Authorization header with the API key of this name."""
    return bearer(make_api_key(name).encode())


JWT, EXPIRED, FORGED, UNMATCHED = (bearer(b"eyJ.%b.b" % name) for name in (b"a", b"expired", b"forged", b"unmatched"))
SECRET = urlencode({"client_id": "journey", "client_secret": make_api_key("journey")}).encode()
LIMITED_SECRET = urlencode({"client_id": "limited", "client_secret": make_api_key("limited")}).encode()


@dataclass(frozen=True)
class Case:
    """A request that is refused.

    Args:
        request: The request.
        status: The status of each answer.
        reason: Why the credential is refused, or None.
        times: How often it is sent until it is refused at the connection; None if it never is.

    """

    request: bytes
    status: int
    reason: RefusalReason | None = None
    times: int | None = 0


CASES = {
    "denied org": Case(asked(OTHER), 403, times=1),
    "denied org, by JWT": Case(asked(OTHER, key=JWT), 403, times=1),
    "denied org, of headers": Case(asked(HEADERS.replace(ORG.encode(), OTHER_ORG.encode())), 403, times=1),
    "denied org, with an id": Case(asked(OTHER, b"X-Request-Id: own-id\r\n"), 403, times=1),
    "denied scope": Case(asked(TARGET + b"&scope=other", key=key_of("narrow")), 403, times=1),
    "denied org, head": Case(asked(OTHER, method=b"HEAD"), 403, times=None),
    "denied org, to close": Case(asked(OTHER, b"Connection: close\r\n"), 403, times=None),
    "unknown key": Case(asked(key=key_of("stranger")), 401, RefusalReason.API_KEY_UNKNOWN),
    "unknown key, with an id": Case(
        asked(TARGET, b"X-Request-Id: x\r\n", key=key_of("stranger")), 401, RefusalReason.API_KEY_UNKNOWN
    ),
    "unknown key, of headers": Case(asked(HEADERS, key=key_of("stranger")), 401, RefusalReason.API_KEY_UNKNOWN),
    "unknown key, no query": Case(asked(b"/token", key=key_of("stranger")), 401, RefusalReason.API_KEY_UNKNOWN),
    "ended key": Case(asked(key=key_of("ended")), 401, RefusalReason.API_KEY_EXPIRED),
    "malformed key": Case(asked(key=bearer(b"itb_x_y")), 401, RefusalReason.MALFORMED),
    "no credential": Case(asked(key=b""), 401, RefusalReason.MISSING),
    "empty credential": Case(asked(key=b"Authorization: Bearer \r\n"), 401, RefusalReason.MISSING),
    "two credentials": Case(asked(key=KEY * 2), 401, RefusalReason.REPEATED),
    "other scheme": Case(asked(key=KEY.replace(b"Bearer", b"Basic")), 401, RefusalReason.SCHEME),
    "large credential": Case(asked(key=bearer(b"x" * 17_000)), 401, RefusalReason.MALFORMED),
    "expired JWT": Case(asked(key=EXPIRED), 401, RefusalReason.EXPIRED, times=1),
    "forged JWT": Case(asked(key=FORGED), 401, RefusalReason.SIGNATURE, times=None),
    "JWT of no caller": Case(asked(key=UNMATCHED), 403, RefusalReason.CALLER_UNKNOWN, times=None),
    "over the limit": Case(asked(key=key_of("limited")), 429),
    "over the limit, denied org": Case(asked(OTHER, key=key_of("limited")), 429),
    "over the limit, new query": Case(asked(TARGET + b"&min_ttl=7", key=key_of("limited")), 429, times=None),
    "form for a denied org": Case(form(SECRET + b"&org=" + OTHER_ORG.encode(), key=b""), 400, times=1),
    "form over the limit": Case(form(LIMITED_SECRET + b"&org=" + ORG.encode(), key=b""), 429, times=1),
    "form with an unknown key": Case(
        form(SECRET.replace(b"journey_", b"stranger_") + b"&org=" + ORG.encode(), key=b""),
        401,
        RefusalReason.API_KEY_UNKNOWN,
        times=None,
    ),
}


def in_force(api: ApiInMemory, *callers: str) -> None:
    """Put the policy of these tests in force, with all callers or with some."""
    limited = make_caller("limited", rate_limit=RateLimit(3, 1e9))
    narrow = make_caller("narrow", make_rule(ORG, scopes="openid"))
    exporter = make_caller("exporter", subject="exporter", api_keys=())
    known = {caller.name: caller for caller in (JOURNEY, OPERATOR, exporter, limited, narrow)}
    named = [known[name] for name in callers or known]
    api.policy.current = Policy(named, (ISSUER,), "v2", ended_api_keys=ENDED.api_key_digests)
    until = api.clock() + 1e6
    api.verifier.known = {
        b"eyJ.a.b": JwtIdentity(ISSUER.issuer, "exporter", until),
        b"eyJ.unmatched.b": JwtIdentity(ISSUER.issuer, "no one", until),
    }
    signed_for = SignedFor(ISSUER.issuer, "exporter")
    api.verifier.refused = {
        b"eyJ.expired.b": UnauthenticatedError(RefusalReason.EXPIRED, signed_for),
        b"eyJ.forged.b": UnauthenticatedError(RefusalReason.SIGNATURE),
    }


@pytest.fixture
async def two() -> AsyncIterator[TwoServers]:
    """Both servers. The caller with a limit has used it up."""
    async with two_servers(WARM, asked(HEADERS)) as made:
        in_force(made.api)
        async with connected(made.ports[False]) as connection:
            for request in (CASES["over the limit"], CASES["over the limit, denied org"], CASES["form over the limit"]):
                assert (await connection.request(request.request)).status in {200, 403}
        yield made


def gate_of(two: TwoServers) -> CallerGate:
    """The gate of the app."""
    gate: CallerGate = two.api.app.warm._paths["/token"]._gate
    return gate


def counting(two: TwoServers) -> list[str]:
    """The paths of the requests that reach the app, from now on."""
    reached: list[str] = []
    inner = two.servers[True].config.loaded_app

    async def app(scope, receive, send):  # type: ignore[no-untyped-def]
        reached.append(scope["path"])
        await inner(scope, receive, send)

    two.servers[True].config.loaded_app = app
    return reached


@pytest.mark.parametrize("name", CASES)
async def test_a_refusal_is_the_same_byte_for_byte(two: TwoServers, name: str) -> None:
    """The first one, which may be that of the long path, and later ones, here and through ASGI; with all events."""
    case = CASES[name]
    first = await two.exchange(False, case.request)
    head, _, _ = first[0].partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % case.status)
    assert [event.reason for event in two.api.sink.of(CallerRefused)] == [case.reason] * (case.reason is not None)
    assert (b"www-authenticate: " in head) == (case.status == 401)
    assert (b"retry-after: " in head) == (case.status == 429)
    for at_connection in (True, False, True):
        again = await two.exchange(at_connection, case.request)
        assert without_what_differs(again[0]) == without_what_differs(first[0])
        assert again[1] == first[1]


@pytest.mark.parametrize("name", CASES)
async def test_a_refusal_among_warm_requests_is_the_same(two: TwoServers, name: str) -> None:
    """In one segment with them, and in segments of their own, where a connection remembers header fields."""
    case = CASES[name]
    await two.exchange(False, case.request)
    pieces = [WARM, case.request, case.request, WARM, case.request + WARM, WARM + case.request]
    here, there = await two.exchange_in_turns(True, *pieces), await two.exchange_in_turns(False, *pieces)
    assert without_what_differs(here[0]) == without_what_differs(there[0])
    assert here[1] == there[1]


@pytest.mark.parametrize("name", CASES)
async def test_certain_refusals_do_not_reach_the_app(two: TwoServers, name: str) -> None:
    """Those that need no one else are made at the connection: at once, or after the long path has made one."""
    case = CASES[name]
    reached = counting(two)
    answer, _ = await two.exchange_in_turns(True, *[case.request] * 3)
    answers = answer.count(b"HTTP/1.1 %d " % case.status)
    assert len(reached) == (answers if case.times is None else case.times)
    assert answers in {1, 3}  # 1 if the connection was to be closed


@pytest.mark.parametrize("at_connection", [True, False])
async def test_refused_credentials_of_an_address_are_limited(two: TwoServers, at_connection: bool) -> None:
    """All count, and beyond the limit all get 429 with Retry-After, a metric's event and no line; callers go on."""
    requests = [CASES[name].request for name in ("unknown key", "expired JWT", "JWT of no caller", "ended key")]
    allowed = REFUSALS_OF_A_SOURCE.requests
    async with connected(two.ports[at_connection]) as connection:
        for number in range(allowed):
            assert (await connection.request(requests[number % 4])).status in {401, 403}
        for request in (*requests, CASES["forged JWT"].request):
            before = len(two.api.sink.of(CallerRefused))
            reply = await connection.request(request)
            assert (reply.status, reply.header("retry-after")) == (429, "1")
            assert len(two.api.sink.of(CallerRefused)) == before
            assert not two.api.sink.of(RequestDecided)[-1].decision.was_looked_at
        assert (await connection.request(CASES["no credential"].request)).status == 401
        assert (await connection.request(WARM)).status == 200
        two.api.clock.advance(0.01)
        assert [(await connection.request(requests[0])).status for _ in range(2)] == [401, 429]


async def test_what_exceeds_an_address_does_not_reach_the_app(two: TwoServers) -> None:
    """A flood of forged credentials, keys or JWTs, costs no task."""
    async with connected(two.ports[True]) as connection:
        for _ in range(REFUSALS_OF_A_SOURCE.requests):
            await connection.request(CASES["unknown key"].request)
        reached = counting(two)
        for name in ("unknown key", "forged JWT", "expired JWT"):
            assert (await connection.request(CASES[name].request)).status == 429
        assert reached == []


@pytest.mark.parametrize("at_connection", [True, False])
async def test_a_denied_request_counts_once_against_the_limit_of_its_caller(
    two: TwoServers, at_connection: bool
) -> None:
    """Wherever it is refused; beyond the limit it gets 429."""
    two.api.change_policy(make_caller("journey", rate_limit=RateLimit(5, 1e9)))
    async with connected(two.ports[at_connection]) as connection:
        statuses = [(await connection.request(request)).status for request in [asked(OTHER), WARM] * 4]
    assert statuses == [403, 200, 403, 200, 403, 429, 429, 429]


async def test_a_change_of_the_policy_ends_a_denial_on_an_open_connection(two: TwoServers) -> None:
    """What was denied is decided again, and so is what was allowed."""
    async with connected(two.ports[True]) as connection:
        for _ in range(3):
            assert (await connection.request(asked(OTHER))).status == 403
        two.api.change_policy(make_caller("journey", make_rule(OTHER_ORG)))
        assert (await connection.request(asked(OTHER))).status != 403
        assert [(await connection.request(WARM)).status for _ in range(2)] == [403, 403]
        in_force(two.api, "journey")
        assert [(await connection.request(asked(OTHER))).status for _ in range(2)] == [403, 403]
        in_force(two.api, "exporter")
        assert (await connection.request(asked(OTHER))).status == 401


async def test_a_full_audit_log_refuses_before_it_is_decided(two: TwoServers) -> None:
    """Refusals at the connection would need a line, too."""
    for name in ("denied org", "unknown key", "expired JWT"):
        await two.exchange(True, CASES[name].request)
    two.api.audit_is_full = True
    for name in ("denied org", "unknown key", "expired JWT"):
        assert (await two.exchange(True, CASES[name].request))[0].startswith(b"HTTP/1.1 503 ")


async def test_forged_credentials_leave_nothing_behind(two: TwoServers) -> None:
    """Neither keys nor JWTs that no one signed are remembered, however many there are, and no real entry is lost."""
    async with connected(two.ports[True]) as connection:
        for name in ("denied org", "expired JWT"):
            assert (await connection.request(CASES[name].request)).status == CASES[name].status
        gate, before = gate_of(two), sizes(two)
        gate._failing = FailingSources(RateLimit(10**6, 1.0))
        assert before == {
            "headers": before["headers"],
            "proven": 0,
            "expired": 1,
            "denied": 2,
            "decisions": before["decisions"],
        }
        for number in range(100):
            for credential in (make_api_key(f"forged{number}").encode(), b"eyJ.forged%d.b" % number):
                assert (await connection.request(asked(OTHER, key=bearer(credential)))).status == 401
        assert sizes(two) == {**before, "decisions": before["decisions"] + 1}
        assert (await connection.request(WARM)).status == 200


def sizes(two: TwoServers) -> dict[str, int]:
    """The number of entries of what refusals could fill."""
    gate, path = gate_of(two), two.api.app.warm._paths["/token"]
    return {
        "headers": len(gate.headers._known),
        "proven": len(gate._proven_jwts),
        "expired": len(gate._expired._since),
        "denied": len(path._refusals._denied),
        "decisions": len(path._refusals._unproven),
    }


async def test_the_log_line_of_a_refused_credential_has_the_id_of_its_request(
    two: TwoServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is logged afterwards does not."""
    noted: list[tuple[Event, str | None]] = []
    monkeypatch.setattr(two.api.app.warm, "_emit", lambda event: noted.append((event, REQUEST_ID.get())))
    reached = counting(two)
    async with connected(two.ports[True]) as connection:
        replies = [await connection.request(CASES["unknown key"].request) for _ in range(2)]
    assert reached == []
    ids = [reply.header("x-request-id") for reply in replies]
    assert [seen for event, seen in noted if isinstance(event, CallerRefused)] == ids
    assert [seen for event, seen in noted if isinstance(event, RequestDecided)] == [None, None]


async def test_two_credentials_are_never_remembered_as_one(two: TwoServers) -> None:
    """Header fields with a good key besides another one are refused each time they are sent."""
    for keys in (KEY * 2, KEY + key_of("stranger"), key_of("stranger") + KEY, b"Authorization:\r\n" + KEY):
        async with connected(two.ports[True]) as connection:
            assert [(await connection.request(asked(key=keys))).status for _ in range(3)] == [401] * 3


async def test_a_denied_query_is_answered_without_the_parser(two: TwoServers) -> None:
    """On a connection with the same header fields; a target that is new goes to the parser."""
    async with connected(two.ports[True]) as connection:
        for _ in range(2):
            assert (await connection.request(asked(OTHER))).status == 403
        parser = the_connection(two).parser
        the_connection(two).parser = None  # type: ignore[assignment]  # a call of it would fail
        assert [(await connection.request(asked(OTHER))).status for _ in range(2)] == [403] * 2
        the_connection(two).parser = parser
        assert (await connection.request(asked(OTHER + b"&a=b"))).status == 400


async def test_a_form_with_a_wrong_key_is_never_answered_by_another_ones_decision(two: TwoServers) -> None:
    """A form is recognised by all of its bytes, its credential among them."""
    good, bad = form(key=_basic("journey")), form(key=_basic("journey", "stranger"))
    denied = form(b"org=" + OTHER_ORG.encode(), key=_basic("journey"))
    async with connected(two.ports[True]) as connection:
        statuses = [(await connection.request(request)).status for request in [good, denied, bad] * 3]
    assert statuses == [200, 400, 401] * 3


def _basic(name: str, of: str | None = None) -> bytes:
    """A caller's Authorization header, or with the API key of another one."""
    credentials = base64.b64encode(f"{name}:{make_api_key(of or name)}".encode())
    return b"Authorization: Basic " + credentials + b"\r\n"
