"""`/headers`: the decision of `GET /token` as the headers of an Adobe API call, for gateways."""

from __future__ import annotations

import pytest

from app.domain import dependency_errors, errors, tenant_errors
from app.domain.events import RequestDecided
from app.domain.policy import Action
from tests.factories import KEY, ORG, OTHER_ORG, REF, UNKNOWN_ORG, make_api_key, make_caller, make_credential, make_rule
from tests.fakes import DAY
from tests.support.api_in_memory import ApiInMemory
from tests.support.asgi_client import Body

HEADERS = f"/headers?org={ORG}"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "REPORT", "x-odd"]
"""A gateway uses its client's method: those of HTTP and WebDAV, and an unknown one."""

every_method = pytest.mark.parametrize("method", METHODS)
SAME_ID = ("X-Request-Id", "same")


@every_method
async def test_any_method_is_answered_with_the_headers_of_an_adobe_call_and_no_body(
    api: ApiInMemory, method: str
) -> None:
    """The answer has exactly the documented headers, may not be stored, and is one `vended` event of `/headers`."""
    answer = await api.ask(method, HEADERS, SAME_ID)
    token = api.replica.memory.get(KEY)
    assert token is not None
    assert (answer.status, answer.body) == (200, b"")
    assert sorted(answer.headers) == [
        ("authorization", f"Bearer {token.value}"),
        ("cache-control", "no-store"),
        ("content-length", "0"),
        ("pragma", "no-cache"),
        ("x-api-key", "client-of-the-tenant"),
        ("x-gw-ims-org-id", ORG),
        ("x-request-id", "same"),
    ]
    [event] = api.sink.of(RequestDecided)
    decision = event.decision
    assert (decision.endpoint, decision.action, decision.outcome) == ("/headers", "vend", "vended")


@every_method
async def test_refusals_are_the_same_for_every_method(api: ApiInMemory, method: str) -> None:
    """An anonymous request, a foreign org and a malformed one give problem documents without any token header."""
    answers = [
        await api.ask(method, HEADERS, caller=None),
        await api.ask(method, f"/headers?org={OTHER_ORG}"),
        await api.ask(method, "/headers?org=nonsense"),
        await api.ask(method, f"{HEADERS}&method={method}"),
    ]
    assert [(answer.status, answer.code) for answer in answers] == [
        (401, "unauthenticated"),
        (403, "forbidden"),
        (400, "invalid_request"),
        (400, "invalid_request"),
    ]
    adobe = {"authorization", "x-api-key", "x-gw-ims-org-id", "x-sandbox-name"}
    assert not adobe & {name for answer in answers for name, _ in answer.headers}
    assert answers[0].header("www-authenticate") == 'Bearer realm="ims-token-broker"'


async def test_the_decision_is_that_of_get_token(api: ApiInMemory) -> None:
    """Both endpoints vend the same token, for each scope and min_ttl, and it is minted once."""
    for parameters in ("", "&scope=openid", "&scope=AdobeID,openid&credential=default", "&min_ttl=600"):
        answer = await api.get(HEADERS + parameters)
        token = await api.get(f"/token?org={ORG}{parameters}")
        assert answer.header("authorization") == f"Bearer {token.json['access_token']}"
    assert api.world.exchanges == 3


async def test_min_ttl_is_respected(api: ApiInMemory) -> None:
    """A token with less lifetime left than the gateway requests is not vended."""
    first = await api.get(f"{HEADERS}&min_ttl=43200")
    api.clock.advance(DAY - 43_199)
    assert (await api.get(f"{HEADERS}&min_ttl=43200")).header("authorization") != first.header("authorization")


async def test_the_sandbox_is_named_if_the_credential_has_one(api: ApiInMemory) -> None:
    """`x-sandbox-name` is the document's default, and absent, not empty, if the document has none."""
    assert (await api.get(HEADERS)).header("x-sandbox-name") is None
    api.world.put(make_credential(REF, generation="2", sandbox="stage"))
    await api.replica.purges.purge(REF)
    assert (await api.get(HEADERS)).header("x-sandbox-name") == "stage"


async def test_the_callers_own_credential_is_not_passed_on(api: ApiInMemory) -> None:
    """The only Authorization in the answer is the token's: it does not contain the caller's API key."""
    answer = await api.get(HEADERS)
    assert make_api_key() not in repr(answer)
    assert answer.header("authorization") is not None


async def test_a_body_of_the_gateways_client_does_not_matter(api: ApiInMemory) -> None:
    """A gateway that forwards its client's upload need not finish it: the broker never waits for the body."""
    upload = Body([b"x" * 100_000], stalls=True)
    assert (await api.ask("PUT", HEADERS, ("Content-Type", "text/plain"), body=upload)).status == 200


async def test_the_action_vend_is_required(api: ApiInMemory) -> None:
    """A caller that may only report, purge or see the status gets no headers."""
    api.change_policy(make_caller("journey", make_rule(ORG, actions=set(Action) - {Action.VEND})))
    assert (await api.get(HEADERS)).code == "forbidden"
    assert api.world.exchanges == 0


async def test_a_foreign_org_is_answered_like_one_that_does_not_exist(api: ApiInMemory) -> None:
    """The two answers are identical except for the request id."""
    answers = [await api.ask("PROPFIND", f"/headers?org={org}", SAME_ID) for org in (OTHER_ORG, UNKNOWN_ORG)]
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("failure", "status", "retry_after"),
    [
        (tenant_errors.CredentialRejectedError("invalid_client"), 502, None),
        (tenant_errors.BadUpstreamResponseError("not JSON"), 502, None),
        (dependency_errors.CredentialStoreError("Vault is sealed."), 503, "5"),
        (dependency_errors.ImsUnavailableError("IMS is down.", 9.0), 503, "9"),
    ],
    ids=lambda value: getattr(value, "code", None),
)
async def test_an_outage_is_a_problem_document(
    api: ApiInMemory, failure: errors.BrokerError, status: int, retry_after: str | None
) -> None:
    """The errors are those of GET /token, so a gateway can distinguish a refusal (4xx) from an outage (5xx)."""
    api.world.exchanger.failures[ORG] = failure
    for method in ("GET", "PROPFIND"):
        answer = await api.ask(method, HEADERS)
        assert (answer.status, answer.code) == (status, failure.code)
        assert answer.header("retry-after") == retry_after
        api.clock.advance(10.0)
