"""Every endpoint that vends tokens has a warm path, and all keep the same promises."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from urllib.parse import urlencode

import pytest
from fastapi import FastAPI

from app.api.answers import OAUTH2_ANSWER
from app.api.app import Api
from app.api.caller_gate import CallerGate
from app.api.door import Door
from app.api.frame import RequestFrame
from app.api.limits import Limits
from app.api.oauth2 import oauth2_routes
from app.api.oauth2_client import JWT_BEARER
from app.api.warm import WarmPath
from app.api.warm_memory import WarmMemory
from app.domain.events import CacheLookedUp, RequestDecided
from app.domain.identity import JwtIdentity
from app.domain.policy import Action
from app.domain.rate_limit import RateLimit
from tests.factories import ISSUER, ORG, OTHER_ORG, REF, make_api_key, make_caller, make_rule
from tests.support.api_in_memory import EXPORTER, ApiInMemory
from tests.support.asgi_client import AsgiResponse, Header

GRANT = {"grant_type": "client_credentials"}
JWT = "eyJ.a.b"
SAME_ID = ("X-Request-Id", "same-id")

Ask = Callable[..., Awaitable[AsgiResponse]]


def basic(name: str = "journey", key: str | None = None) -> Header:
    """An HTTP Basic header."""
    pair = f"{name}:{key or make_api_key(name)}"
    return ("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")


async def token(api: ApiInMemory, name: str = "journey", org: str = ORG) -> AsgiResponse:
    """``GET /token``."""
    return await api.get(f"/token?org={org}", SAME_ID, caller=name)


async def headers(api: ApiInMemory, name: str = "journey", org: str = ORG) -> AsgiResponse:
    """``/headers`` with a method that a gateway passed on."""
    return await api.ask("PROPFIND", f"/headers?org={org}", SAME_ID, caller=name)


async def by_basic(api: ApiInMemory, name: str = "journey", org: str = ORG) -> AsgiResponse:
    """``/oauth2/token`` by HTTP Basic, the tenant in the form."""
    return await api.form({**GRANT, "org": org}, basic(name), SAME_ID)


async def by_form(api: ApiInMemory, name: str = "journey", org: str = ORG) -> AsgiResponse:
    """``/oauth2/token`` by form fields, the tenant in the token URL's query."""
    fields = {**GRANT, "client_id": name, "client_secret": make_api_key(name)}
    return await api.form(fields, SAME_ID, query=f"?org={org}")


ASKS: dict[str, Ask] = {"/token": token, "/headers": headers, "Basic": by_basic, "form": by_form}
each = pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)


def looked_up(api: ApiInMemory) -> int:
    """How often the long path has looked up a token: the warm path reports no look-up."""
    return len(api.sink.of(CacheLookedUp))


async def is_warm(api: ApiInMemory, ask: Ask, name: str = "journey", org: str = ORG) -> bool:
    """Whether a request is answered with a token on the warm path."""
    before = looked_up(api)
    return (await ask(api, name, org)).status == 200 and looked_up(api) == before


def reason(answer: AsgiResponse) -> str:
    """The code of a refusal, in either form."""
    return str(answer.json["code"])


@each
async def test_warm_and_long_answers_are_identical(api: ApiInMemory, ask: Ask) -> None:
    """Status, headers in order, and body equal those of the long path in the same second."""
    long = await ask(api)
    assert await is_warm(api, ask)
    assert await ask(api) == long
    api.clock.advance(10.0)
    warm = await ask(api)
    api.replica.memory.drop(REF)  # Read from the shared cache again, on the long path.
    before = looked_up(api)
    assert await ask(api) == warm
    assert looked_up(api) > before


@each
async def test_each_answer_is_one_event_of_its_endpoint(api: ApiInMemory, ask: Ask) -> None:
    """The events of a long and a warm request are equal except for the tier, and that warm ones share an object."""
    for _ in range(3):
        await ask(api)
    long, *warm = (event.decision for event in api.sink.of(RequestDecided))
    names = set(long.__slots__) - {"tier", "is_shared", "__weakref__"}
    assert len(warm) == 2
    for decision in warm:
        assert {name: getattr(decision, name) for name in names} == {name: getattr(long, name) for name in names}
        assert decision.tier == "memory"
        assert decision is warm[0]


@each
async def test_no_other_caller_and_no_other_tenant_is_answered(api: ApiInMemory, ask: Ask) -> None:
    """A warm answer for one caller and tenant serves neither another caller nor another tenant."""
    other = await ask(api, "operator", OTHER_ORG)
    assert await is_warm(api, ask, "operator", OTHER_ORG)
    assert reason(await ask(api, "journey", OTHER_ORG)) == "forbidden"
    assert reason(await ask(api, "stranger", OTHER_ORG)) == "unauthenticated"
    mine = await ask(api, "operator", ORG)
    assert mine.status == other.status == 200
    assert (mine.headers, mine.body) != (other.headers, other.body)


@each
async def test_a_denial_and_a_withdrawn_key_are_obeyed_at_once(api: ApiInMemory, ask: Ask) -> None:
    """After a change of the policy nothing is warm: the new policy decides the next request."""
    await ask(api)
    assert await is_warm(api, ask)
    api.change_policy(make_caller("journey", make_rule(ORG, actions=set(Action) - {Action.VEND})))
    assert reason(await ask(api)) == "forbidden"
    api.change_policy(make_caller("journey", api_keys=[make_api_key("another")]))
    assert reason(await ask(api)) == "unauthenticated"
    api.change_policy(make_caller("journey"))
    assert not await is_warm(api, ask)
    assert await is_warm(api, ask)


@each
async def test_narrowed_scopes_narrow_the_next_answer(api: ApiInMemory, ask: Ask) -> None:
    """The token with all scopes is not answered under a rule with one."""
    before = await ask(api)
    assert await is_warm(api, ask)
    api.change_policy(make_caller("journey", make_rule(ORG, scopes="openid")))
    after = await ask(api)
    assert (before.headers, before.body) != (after.headers, after.body)
    assert api.sink.of(RequestDecided)[-1].decision.scope == "openid"


@each
async def test_a_purge_made_here_or_elsewhere_is_obeyed_at_once(api: ApiInMemory, ask: Ask) -> None:
    """No token that was minted before a purge is answered after it."""
    hashes = set()
    for purge in (lambda: api.replica.purges.purge(REF), None):
        await ask(api)
        assert await is_warm(api, ask)
        hashes.add(api.sink.of(RequestDecided)[-1].decision.token_sha256)
        if purge is None:
            api.replica.epochs.learn(REF, api.replica.epochs.of(REF) + 1)
        else:
            await purge()
        assert not await is_warm(api, ask)
    hashes.add(api.sink.of(RequestDecided)[-1].decision.token_sha256)
    assert len(hashes) == 3


@each
async def test_a_warm_request_is_counted_against_the_limit(ask: Ask) -> None:
    """With a limit of five, five requests pass on either path; the sixth is refused until there is room."""
    api = ApiInMemory(make_caller("journey", rate_limit=RateLimit(5, 60.0)))
    assert [(await ask(api)).status for _ in range(7)] == [200] * 5 + [429] * 2
    assert api.sink.outcomes == ["vended"] * 5 + ["rate_limited"] * 2
    api.clock.advance(12.0)
    assert [(await ask(api)).status for _ in range(2)] == [200, 429]


async def test_one_limit_applies_to_all_endpoints() -> None:
    """The endpoints share the caller's limit, warm or not."""
    api = ApiInMemory(make_caller("journey", rate_limit=RateLimit(8, 60.0)))
    asks = [ask for _ in range(3) for ask in ASKS.values()]
    assert [(await ask(api)).status for ask in asks] == [200] * 8 + [429] * 4


JWT_TARGETS: dict[str, Callable[[ApiInMemory, int], Awaitable[AsgiResponse]]] = {
    "GET /token": lambda api, _: api.get(f"/token?org={ORG}", bearer_jwt(), caller=None),
    "HEAD /headers": lambda api, _: api.ask("HEAD", f"/headers?org={ORG}", bearer_jwt(), caller=None),
    "POST /headers": lambda api, _: api.ask("POST", f"/headers?org={ORG}", bearer_jwt(), caller=None),
    "OPTIONS /headers": lambda api, _: api.ask("OPTIONS", f"/headers?org={ORG}", bearer_jwt(), caller=None),
    "POST /token/report": lambda api, _: api.ask(
        "POST", f"/token/report?org={ORG}", bearer_jwt(), caller=None, body=b'{"token_sha256": "%s"}' % (b"a" * 64)
    ),
    "DELETE /token": lambda api, _: api.ask("DELETE", f"/token?org={ORG}", bearer_jwt(), caller=None),
    "GET /orgs": lambda api, _: api.get("/orgs", bearer_jwt(), caller=None),
    "POST /oauth2/token, the same form": lambda api, _: api.form(asserted()),
    "POST /oauth2/token, other forms": lambda api, number: api.form({**asserted(), "number": str(number)}),
}


def bearer_jwt() -> Header:
    """The Authorization header with a JWT."""
    return ("Authorization", f"Bearer {JWT}")


def asserted() -> dict[str, str]:
    """A form with the JWT as client assertion."""
    return {**GRANT, "client_assertion_type": JWT_BEARER, "client_assertion": JWT, "org": ORG}


@pytest.mark.parametrize("ask", JWT_TARGETS.values(), ids=JWT_TARGETS)
async def test_a_jwt_is_verified_once_in_ten_requests_a_minute(
    ask: Callable[[ApiInMemory, int], Awaitable[AsgiResponse]],
) -> None:
    """On every endpoint a JWT is verified once, and again after a minute, at its expiry, and under another policy."""
    exporter = make_caller("exporter", make_rule(actions=list(Action)), subject="exporter", api_keys=())
    api = ApiInMemory(exporter)
    api.verifier.known[JWT.encode()] = JwtIdentity(ISSUER.issuer, "exporter", api.clock() + 90.0)
    for number in range(10):
        assert (await ask(api, number)).status in {200, 204}
    assert len(api.verifier.verified) == 1
    api.change_policy(exporter)
    assert (await ask(api, 10)).status in {200, 204}
    assert len(api.verifier.verified) == 2
    api.clock.advance(60.0)
    assert (await ask(api, 11)).status in {200, 204}
    assert len(api.verifier.verified) == 3
    del api.verifier.known[JWT.encode()]  # It has expired, as the verifier would find.
    api.clock.advance(30.0)
    assert (await ask(api, 12)).status == 401


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND", "x-odd"])
async def test_warm_headers_serve_every_method(api: ApiInMemory, method: str) -> None:
    """A gateway uses its client's method; the answer and the decision are the same for all."""
    long = await api.get(f"/headers?org={ORG}", SAME_ID)
    before = looked_up(api)
    assert await api.ask(method, f"/headers?org={ORG}", SAME_ID) == long
    assert looked_up(api) == before


async def test_endpoints_do_not_answer_with_what_another_one_prepared(api: ApiInMemory) -> None:
    """A query that is warm at one endpoint takes the long path at another, and gets that endpoint's answer."""
    answers = []
    for ask in (token, headers):
        before = looked_up(api)
        answers.append(await ask(api))
        assert looked_up(api) == before + 1 or api.world.exchanges == 1
    assert answers[0].header("x-api-key") is None
    assert answers[1].body == b""


async def test_a_report_and_a_purge_are_never_answered_by_the_warm_path(api: ApiInMemory) -> None:
    """The same query with another method or path of ``/token`` is decided by that route."""
    await token(api, "operator")
    await token(api, "operator")
    report = await api.ask("POST", f"/token/report?org={ORG}", caller="operator", body=b"{}")
    assert (report.status, reason(report)) == (400, "invalid_request")
    assert (await api.ask("DELETE", f"/token?org={ORG}", caller="operator")).status == 204
    assert not await is_warm(api, token, "operator")


@pytest.mark.parametrize(
    ("fields", "sent", "query"),
    [
        pytest.param({"org": OTHER_ORG}, [], "", id="another tenant"),
        pytest.param({"client_id": "operator"}, [], "", id="another client_id"),
        pytest.param({"client_secret": make_api_key("stranger")}, [], "", id="another secret"),
        pytest.param({}, [basic()], "", id="a second method of authentication"),
        pytest.param({"grant_type": "password"}, [], "", id="another grant"),
        pytest.param({"scope": "admin"}, [], "", id="a scope"),
        pytest.param({}, [], f"?org={OTHER_ORG}", id="a query that contradicts the form"),
        pytest.param({}, [], f"?client_secret={make_api_key()}", id="a secret in the URL"),
        pytest.param({}, [], "?x=1", id="an unknown name in the URL"),
        pytest.param({}, [("Content-Type", "text/plain")], "", id="a second media type"),
    ],
)
async def test_a_form_that_differs_from_the_warm_one_is_decided_on_the_long_path(
    api: ApiInMemory, fields: dict[str, str], sent: list[Header], query: str
) -> None:
    """A form, query or header that is refused cold is also refused while a similar form is warm."""
    known = {**GRANT, "client_id": "journey", "client_secret": make_api_key(), "org": ORG}
    for _ in range(2):
        assert (await api.form(known)).status == 200
    assert (await api.form({**known, **fields}, *sent, query=query)).status in {400, 401}


async def test_parts_of_a_form_cannot_run_into_each_other(api: ApiInMemory) -> None:
    """The same bytes, divided differently between query and body, are a different request."""
    fields = urlencode({**GRANT, "client_id": "journey", "client_secret": make_api_key()}).encode()
    content_type = ("Content-Type", "application/x-www-form-urlencoded")
    query = f"org={ORG}"
    for _ in range(2):
        target = f"/oauth2/token?{query}"
        assert (await api.ask("POST", target, content_type, caller=None, body=fields)).status == 200
    moved = await api.ask("POST", "/oauth2/token", content_type, caller=None, body=query.encode() + fields)
    assert moved.status == 400


async def test_a_warm_form_is_kept_only_as_its_hash(api: ApiInMemory) -> None:
    """The gate and the warm path remember neither the API key nor any part of the form."""
    gate, vendor = CallerGate(api.policy, api.verifier, api.clock, api.fleet_limits), api.replica.vendor
    warm = WarmPath("/oauth2/token", OAUTH2_ANSWER, gate, vendor, WarmMemory(), verified=gate.forms)
    inner = FastAPI()
    inner.include_router(oauth2_routes(RequestFrame(gate, vendor, api.sink, api.clock, Limits()), warm))
    api.app = Door(Api(inner, {}, {}), api.sink, api.clock, lambda: "id", lambda: False)
    for ask in (by_form, by_basic):
        await ask(api)
        assert await is_warm(api, ask)
    remembered = repr((warm._taught.queries, gate.forms._known, gate.credentials._known))
    assert "journey" in remembered
    for secret in (make_api_key(), "client_secret", "grant_type", str(basic()[1]).removeprefix("Basic ")):
        assert secret not in remembered


async def test_a_bearer_jwt_at_the_token_url_stays_refused(api: ApiInMemory) -> None:
    """A header that is valid at ``/token`` is not accepted at ``/oauth2/token``, and the other way round."""
    api = ApiInMemory(EXPORTER)
    api.verifier.known[JWT.encode()] = JwtIdentity(ISSUER.issuer, "exporter", api.clock() + 90.0)
    assert (await api.get(f"/token?org={ORG}", bearer_jwt(), caller=None)).status == 200
    assert (await api.form({**GRANT, "org": ORG}, bearer_jwt())).status == 401
    assert (await api.form(asserted())).status == 200
    assert (await api.get(f"/token?org={ORG}", ("Authorization", JWT), caller=None)).status == 401
    assert (await api.get(f"/token?org={ORG}", basic(), caller=None)).status == 401
