"""One request from start to end: its deadline, its one event, and a policy that changes in the meantime."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from app.api.limits import Limits
from app.domain import dependency_errors, errors, tenant_errors
from app.domain.events import RequestDecided
from app.domain.grant import Grant
from app.domain.policy import Action, Caller
from app.domain.rate_limit import RateLimit
from app.domain.refusal_reason import RefusalReason
from tests.factories import ALL_ACTIONS, KEY, ORG, OTHER_ORG, make_api_key, make_caller, make_rule
from tests.support.api_in_memory import TOKEN, ApiInMemory
from tests.support.asgi_client import AsgiResponse, Body

JOURNEY = make_caller("journey", make_rule(ORG, actions=ALL_ACTIONS, credentials=["default", "second"]))
LIMITED = make_caller("limited", rate_limit=RateLimit(1, 60.0))
REPORT = f"/token/report?org={ORG}"
FORM = ("Content-Type", "application/x-www-form-urlencoded")
OAUTH2 = {"grant_type": "client_credentials", "client_id": "journey", "client_secret": make_api_key(), "org": ORG}
HASH = b'{"token_sha256": "%s"}' % (b"a" * 64)

Ask = Callable[[ApiInMemory], Awaitable[AsgiResponse]]
VENDING: dict[str, tuple[Ask, str]] = {
    "/token": (lambda api: api.get(), "vend"),
    "/token/report": (lambda api: api.ask("POST", REPORT, body=HASH), "report"),
    "/headers": (lambda api: api.ask("PROPFIND", f"/headers?org={ORG}"), "vend"),
    "/oauth2/token": (lambda api: api.form(OAUTH2), "vend"),
}
"""The endpoints that vend tokens: how the caller `journey` asks each for the token of `ORG`."""

each_vending = pytest.mark.parametrize("endpoint", VENDING)


@pytest.fixture
def api() -> ApiInMemory:
    """The API with a caller that may do everything with `ORG`, and one with a limit."""
    return ApiInMemory(JOURNEY, LIMITED)


def only_event(api: ApiInMemory) -> RequestDecided:
    """The only decision that was emitted; checks that no token, key or error text is in any event."""
    [event] = api.sink.of(RequestDecided)
    for secret in ("eyJ", "itb_", "canary", make_api_key()):
        assert secret not in repr(api.sink.all)
    return event


def code_of(answer: AsgiResponse) -> str:
    """The code of a refusal; in OAuth's form it is next to the error."""
    return str(answer.json["code"])


@each_vending
async def test_a_vended_token_is_one_event(api: ApiInMemory, endpoint: str) -> None:
    """It names endpoint, action, caller, tenant and, by its hash, the token; the first one's tier is `exchange`."""
    ask, action = VENDING[endpoint]
    answer = await ask(api)
    assert answer.status == 200
    token = api.replica.memory.get(KEY)
    assert token is not None
    event = only_event(api)
    decision = event.decision
    assert (event.at, event.request_id) == (api.clock(), answer.header("x-request-id"))
    assert (decision.endpoint, decision.action, decision.outcome) == (endpoint, action, "vended")
    assert (decision.caller, decision.org, decision.credential) == ("journey", ORG, "default")
    assert (decision.scope, decision.generation) == ("AdobeID openid session", "1")
    assert (decision.token_sha256, decision.tier) == (token.sha256, "exchange")


@pytest.mark.parametrize(
    ("method", "target", "action", "org"), [("DELETE", TOKEN, "purge", ORG), ("GET", "/orgs", "status", None)]
)
async def test_an_action_without_a_token_is_done(
    api: ApiInMemory, method: str, target: str, action: str, org: str | None
) -> None:
    """A purge and a status request are one event each, without a token."""
    await api.ask(method, target)
    decision = only_event(api).decision
    assert (decision.action, decision.outcome, decision.caller, decision.org) == (action, "done", "journey", org)
    assert (decision.endpoint, decision.token_sha256, decision.tier) == (target.partition("?")[0], None, None)


@dataclass(frozen=True)
class Exit:
    """A case in which GET /token is refused.

    Args:
        outcome: The outcome in the event.
        target: The path and query of the request.
        org: The org that the event names.
        store: The error that the credential store raises.
        exchange: The error that the exchange with IMS raises.

    """

    outcome: str
    target: str = TOKEN
    org: str | None = ORG
    store: Exception | None = None
    exchange: Exception | None = None


EXITS = {
    "malformed org": Exit("invalid_request", "/token?org=nonsense", org=None),
    "unknown parameter": Exit("invalid_request", f"{TOKEN}&scopes=x", org=None),
    "scope that the credential lacks": Exit("invalid_request", f"{TOKEN}&scope=admin"),
    "foreign org": Exit("forbidden", f"/token?org={OTHER_ORG}", org=OTHER_ORG),
    "nothing stored": Exit("credential_not_found", f"{TOKEN}&credential=second"),
    "refused by IMS": Exit("credential_rejected", exchange=tenant_errors.CredentialRejectedError("invalid_client")),
    "nonsense from IMS": Exit("bad_upstream_response", exchange=tenant_errors.BadUpstreamResponseError("not JSON")),
    "IMS down": Exit("ims_unavailable", exchange=dependency_errors.ImsUnavailableError("down")),
    "misconfigured": Exit(
        "credential_misconfigured", store=tenant_errors.CredentialMisconfiguredError("client_id", "text")
    ),
    "store down": Exit("vault_unavailable", store=dependency_errors.CredentialStoreError("sealed")),
    "overloaded": Exit("overloaded", store=dependency_errors.OverloadedError()),
    "unexpected": Exit("internal_error", store=RuntimeError("canary of the error")),
}


@pytest.mark.parametrize("case", EXITS.values(), ids=EXITS)
async def test_each_refusal_is_one_event(api: ApiInMemory, case: Exit) -> None:
    """Its outcome is the code of the answer; it names caller and org, if known, and no token."""
    api.world.store.failure = case.store
    if case.exchange is not None:
        api.world.exchanger.failures[ORG] = case.exchange
    answer = await api.get(case.target)
    event = only_event(api)
    decision = event.decision
    assert answer.code == decision.outcome == case.outcome
    assert event.request_id == answer.header("x-request-id")
    assert (decision.endpoint, decision.action, decision.caller, decision.org) == (
        "/token",
        "vend",
        "journey",
        case.org,
    )
    assert (decision.token_sha256, decision.scope, decision.generation, decision.tier) == (None,) * 4


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (errors.UnauthenticatedError(RefusalReason.MALFORMED), "unauthenticated"),
        (dependency_errors.IdentityUnavailableError("no keys"), "identity_unavailable"),
        (RuntimeError("canary of the error"), "internal_error"),
    ],
)
async def test_a_refusal_of_an_unknown_caller_is_one_event(api: ApiInMemory, failure: Exception, outcome: str) -> None:
    """If the caller is unknown, the event names neither a caller nor the requested credential."""
    api.verifier.failure = failure
    assert (await api.get(TOKEN, ("Authorization", "Bearer eyJ.a.b"), caller=None)).code == outcome
    decision = only_event(api).decision
    assert (decision.outcome, decision.caller, decision.org, decision.credential) == (outcome, None, None, None)


async def test_a_request_over_the_limit_is_one_event(api: ApiInMemory) -> None:
    """The event names the caller, and every endpoint answers 429."""
    for endpoint in ("/token", "/headers", "/token"):
        await api.get(f"{endpoint}?org={ORG}", caller="limited")
    assert api.sink.outcomes == ["vended", "rate_limited", "rate_limited"]
    assert [event.decision.caller for event in api.sink.of(RequestDecided)] == ["limited"] * 3


async def test_a_client_that_disconnects_in_its_body_is_one_event(api: ApiInMemory) -> None:
    """No one reads the answer, but the refusal is an event like any other."""
    await api.ask("POST", REPORT, body=Body([b'{"token_'], leaves=True))
    decision = only_event(api).decision
    assert (decision.endpoint, decision.outcome, decision.caller) == ("/token/report", "invalid_request", "journey")
    await api.ask("POST", "/oauth2/token", FORM, caller=None, body=Body([b"grant_"], leaves=True))
    assert api.sink.outcomes == ["invalid_request"] * 2


async def waiting_request(api: ApiInMemory, endpoint: str) -> asyncio.Task[AsgiResponse]:
    """A request that waits for IMS."""
    calls = api.world.exchanger.calls(ORG)
    calls.pause()
    task = asyncio.create_task(asyncio.wait_for(VENDING[endpoint][0](api), 5.0))
    await calls.one_waits()
    return task


@each_vending
async def test_a_wait_beyond_the_deadline_is_overloaded(api: ApiInMemory, endpoint: str) -> None:
    """The answer is 503 with Retry-After and one event; the exchange continues, and serves the next request."""
    api.limit(Limits(request_seconds=0.01))
    answer = await (await waiting_request(api, endpoint))
    assert (answer.status, code_of(answer), answer.header("retry-after")) == (503, "overloaded", "1")
    decision = only_event(api).decision
    assert (decision.outcome, decision.caller, decision.org) == ("overloaded", "journey", ORG)
    assert (decision.token_sha256, decision.tier) == (None, None)
    api.world.exchanger.calls(ORG).resume()
    await api.replica.until_idle()
    assert (await api.get()).status == 200
    assert api.world.exchanges == 1


async def test_the_deadline_applies_to_the_status(api: ApiInMemory) -> None:
    """A store that hangs delays no status request beyond the deadline."""
    api.limit(Limits(request_seconds=0.01))
    api.world.store.calls.pause()
    assert (await asyncio.wait_for(api.get("/orgs"), 5.0)).code == "overloaded"
    assert only_event(api).decision.outcome == "overloaded"


@each_vending
async def test_a_denial_while_waiting_is_obeyed(api: ApiInMemory, endpoint: str) -> None:
    """If the rule is gone when the token arrives, the answer is 403, or RFC 6749's error, without the token."""
    task = await waiting_request(api, endpoint)
    api.change_policy(make_caller("journey", make_rule(OTHER_ORG, actions=ALL_ACTIONS)))
    api.world.exchanger.calls(ORG).resume()
    answer = await task
    assert (answer.status, code_of(answer)) == (400 if endpoint == "/oauth2/token" else 403, "forbidden")
    assert "eyJ" not in repr(answer)
    decision = only_event(api).decision
    assert (decision.outcome, decision.caller, decision.org) == ("forbidden", "journey", ORG)
    assert (decision.token_sha256, decision.tier) == (None, None)
    assert api.world.exchanges == 1


@pytest.mark.parametrize(
    ("caller", "code"),
    [
        (make_caller("journey", make_rule(ORG, actions=ALL_ACTIONS - {Action.VEND})), "forbidden"),
        (make_caller("journey", api_keys=[make_api_key("another")]), "unauthenticated"),
    ],
)
async def test_an_action_or_a_key_withdrawn_while_waiting_is_obeyed(
    api: ApiInMemory, caller: Caller, code: str
) -> None:
    """Without the action the answer is 403, without the key 401, whatever was decided before."""
    task = await waiting_request(api, "/token")
    api.change_policy(caller)
    api.world.exchanger.calls(ORG).resume()
    assert (await task).code == only_event(api).decision.outcome == code


async def test_scopes_narrowed_while_waiting_narrow_the_token(api: ApiInMemory) -> None:
    """The request starts again under the new rule, and gets what that rule allows."""
    task = await waiting_request(api, "/token")
    api.change_policy(make_caller("journey", make_rule(ORG, scopes="openid")))
    api.world.exchanger.calls(ORG).resume()
    assert (await task).json["scope"] == "openid"
    assert only_event(api).decision.scope == "openid"
    assert api.world.exchanges == 2


async def test_a_change_that_does_not_affect_the_decision_costs_nothing(api: ApiInMemory) -> None:
    """A change to another rule of the caller is not a reason to mint again."""
    task = await waiting_request(api, "/token")
    api.change_policy(make_caller("journey", make_rule(ORG, actions=ALL_ACTIONS), make_rule(OTHER_ORG)))
    api.world.exchanger.calls(ORG).resume()
    assert (await task).status == 200
    assert api.world.exchanges == 1


async def test_a_policy_that_keeps_changing_ends_in_a_refusal(api: ApiInMemory) -> None:
    """A request whose scopes change after each minting gets 403, and does not wait forever."""
    api.limit(Limits(policy_changes=2))
    bounds = ["openid", "AdobeID", "session"]

    async def change(grant: Grant) -> None:
        api.change_policy(make_caller("journey", make_rule(ORG, scopes=bounds[len(api.world.exchanger.grants) - 1])))

    api.world.exchanger.before = change
    assert (await api.get()).code == "forbidden"
    assert only_event(api).decision.outcome == "forbidden"
    assert api.world.exchanges == 2
