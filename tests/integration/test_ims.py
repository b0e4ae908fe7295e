"""The exchanger against the sandbox, over sockets: both grants, both units, every refusal."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.adapters.ims import HttpTokenExchanger
from app.adapters.jose_signer import JoseAssertionSigner
from app.domain.assertion import assertion_claims
from app.domain.credential import JwtCredential
from app.domain.dependency_errors import ImsUnavailableError
from app.domain.events import ClockCompared, DependencyCalled, ExchangeFinished
from app.domain.grant import Grant, grant_of
from app.domain.names import Scope
from app.domain.tenant_errors import BadUpstreamResponseError, CredentialRejectedError
from app.sandbox.faults import Fault, FaultKind
from tests.support import grants
from tests.support.exchanging import Exchanging, exchanging
from tests.support.ims_server import RunningSandbox, run_sandbox
from tests.support.keys import key_pair
from tests.support.sandbox_clients import enterprise_client, jwt_client, oauth_client


@pytest.fixture
async def ims() -> AsyncIterator[RunningSandbox]:
    """A sandbox without clients."""
    async with run_sandbox() as running:
        yield running


@pytest.fixture
async def broker() -> AsyncIterator[Exchanging]:
    """An exchanger."""
    async with exchanging(deadline=5.0) as ready:
        yield ready


async def signed_grant(
    credential: JwtCredential, *, now: float | None = None, scopes: tuple[Scope, ...] = grants.METASCOPES
) -> Grant:
    """A grant with an assertion signed with the credential's own key."""
    signer = JoseAssertionSigner()
    try:
        claims = assertion_claims(credential, scopes, time.time() if now is None else now)
        return grant_of(credential, scopes, grants.SECRET, await signer.sign(credential, claims))
    finally:
        signer.close()


def service_account(ims: RunningSandbox, **fields: Any) -> JwtCredential:
    """The service account's credential for this sandbox."""
    return grants.jwt_credential(base_url=ims.base_url, **{"private_key": key_pair().pkcs1, **fields})


async def rejection(broker: Exchanging, grant: Grant) -> CredentialRejectedError:
    """The refusal of a grant; checked to hold no secret and to be reported once."""
    with pytest.raises(CredentialRejectedError) as caught:
        await broker.exchanger.exchange(grant)
    error = caught.value
    assert grants.SECRET not in f"{error} {error!r} {error.__cause__}"
    assert error.debug_id is not None
    assert len(error.debug_id) == 32
    told = broker.sink.of(ExchangeFinished)[-1]
    assert (told.outcome, told.ims_error, told.debug_id) == ("credential_rejected", error.ims_error, error.debug_id)
    assert broker.sink.calls("exchange")[-1] == "credential_rejected"
    return error


@pytest.mark.parametrize("lifetime", [40.0, 3600.0, 86399.0])
async def test_an_assertion_becomes_a_token_with_its_true_expiry(broker: Exchanging, lifetime: float) -> None:
    """Milliseconds from the JWT endpoint become the true expiry, checked against the sandbox's own record."""
    async with run_sandbox([jwt_client()], token_lifetime=lifetime) as ims:
        issued = await broker.exchanger.exchange(await signed_grant(service_account(ims)))
        record = ims.sandbox.state.mint.find(issued.value)
    assert record is not None
    assert abs(issued.expires_at - record.expires_at) < 2
    assert issued.expires_at <= record.expires_at + 0.001
    assert abs(issued.expires_at - (time.time() + lifetime)) < 2
    assert issued.scopes == grants.METASCOPES
    told = broker.sink.of(ExchangeFinished)
    assert [(event.ref, event.kind, event.outcome, event.ims_error) for event in told] == [
        (issued_ref := service_account(ims).ref, "jwt", "issued", None)
    ]
    assert issued_ref.org == grants.ORG
    assert [(call.dependency, call.operation, call.outcome) for call in broker.sink.of(DependencyCalled)] == [
        ("ims", "exchange", "ok")
    ]


@pytest.mark.parametrize("lifetime", [40.0, 3600.0, 86399.0])
async def test_client_credentials_become_a_token_with_its_true_expiry(broker: Exchanging, lifetime: float) -> None:
    """Seconds from the token endpoint become the true expiry."""
    async with run_sandbox([oauth_client()], token_lifetime=lifetime) as ims:
        issued = await broker.exchanger.exchange(grants.oauth_exchange(ims.base_url))
        record = ims.sandbox.state.mint.find(issued.value)
    assert record is not None
    assert abs(issued.expires_at - record.expires_at) < 2
    assert abs(issued.expires_at - (time.time() + lifetime)) < 2
    assert issued.scopes == grants.SCOPES


@pytest.mark.parametrize("org", [grants.ORG, grants.OTHER_ORG])
async def test_an_enterprise_web_app_gets_a_token_for_each_consenting_org(
    ims: RunningSandbox, broker: Exchanging, org: Any
) -> None:
    """One client serves several orgs; its response has no token_type, and the token is valid for an hour."""
    ims.sandbox.state.clients.put(enterprise_client())
    credential = grants.enterprise_credential(base_url=ims.base_url, org=org)
    issued = await broker.exchanger.exchange(grants.oauth_exchange(credential=credential))
    record = ims.sandbox.state.mint.find(issued.value)
    assert record is not None
    assert record.org_id == org
    assert abs(issued.expires_at - time.time() - 3599) < 2


async def test_a_wrong_key_is_reported_as_an_unbound_certificate(ims: RunningSandbox, broker: Exchanging) -> None:
    """IMS mentions "bindings"; our error says which certificate to check."""
    ims.sandbox.state.clients.put(jwt_client(certificates=(key_pair("other").certificate,)))
    error = await rejection(broker, await signed_grant(service_account(ims)))
    assert error.ims_error == "invalid_token"
    assert "certificate" in error.detail
    assert "expired" in error.detail
    assert "bindings" not in error.detail
    assert not error.secret_refused


@pytest.mark.parametrize(
    ("skew", "hint"), [(-1000.0, "clock"), (100_000.0, "assertion")], ids=["clock-behind", "clock-ahead"]
)
async def test_a_wrong_clock_is_reported(ims: RunningSandbox, broker: Exchanging, skew: float, hint: str) -> None:
    """The error for an assertion outside its validity period points at the clock."""
    ims.sandbox.state.clients.put(jwt_client())
    error = await rejection(broker, await signed_grant(service_account(ims), now=time.time() + skew))
    assert error.ims_error == "invalid_token"
    assert hint in error.detail


async def test_an_unbound_metascope_is_reported(ims: RunningSandbox, broker: Exchanging) -> None:
    """The error for a metascope that the binding lacks names the field to correct."""
    ims.sandbox.state.clients.put(jwt_client())
    grant = await signed_grant(service_account(ims), scopes=(Scope("ent_unbound_sdk"),))
    error = await rejection(broker, grant)
    assert error.ims_error == "invalid_scope"
    assert "metascopes" in error.detail


@pytest.mark.parametrize("kind", ["jwt", "oauth"])
async def test_a_wrong_secret_lets_the_next_one_be_tried(ims: RunningSandbox, broker: Exchanging, kind: str) -> None:
    """A refused secret (401 at one endpoint, 400 at the other) is distinguished from a refused credential."""
    ims.sandbox.state.clients.put((jwt_client if kind == "jwt" else oauth_client)(secrets=("another-secret",)))
    grant = await signed_grant(service_account(ims)) if kind == "jwt" else grants.oauth_exchange(ims.base_url)
    error = await rejection(broker, grant)
    assert (error.ims_error, error.secret_refused) == ("invalid_client", True)
    assert "client_secrets" in error.detail


async def test_either_of_two_secrets_is_accepted(ims: RunningSandbox, broker: Exchanging) -> None:
    """During a rotation of secrets both are valid."""
    ims.sandbox.state.clients.put(oauth_client(secrets=("old-secret", grants.SECRET)))
    await broker.exchanger.exchange(grants.oauth_exchange(ims.base_url, secret="old-secret"))
    await broker.exchanger.exchange(grants.oauth_exchange(ims.base_url))


@pytest.mark.parametrize("kind", ["jwt", "oauth"])
async def test_an_unknown_client_is_reported(ims: RunningSandbox, broker: Exchanging, kind: str) -> None:
    """The error for a client that does not exist points at the client id."""
    grant = await signed_grant(service_account(ims)) if kind == "jwt" else grants.oauth_exchange(ims.base_url)
    error = await rejection(broker, grant)
    assert error.ims_error == "invalid_client"
    assert "client_id" in error.detail


async def test_a_scope_that_the_client_lacks_is_reported(ims: RunningSandbox, broker: Exchanging) -> None:
    """The error for an unknown scope points at the scopes."""
    ims.sandbox.state.clients.put(oauth_client())
    credential = grants.oauth_credential(base_url=ims.base_url)
    error = await rejection(broker, grant_of(credential, (Scope("nope"),), grants.SECRET))
    assert error.ims_error == "invalid_scope"
    assert "scopes" in error.detail


async def test_a_service_account_at_the_token_endpoint_is_reported_as_the_wrong_kind(
    ims: RunningSandbox, broker: Exchanging
) -> None:
    """The error for a client that is not provisioned for the flow points at the kind."""
    ims.sandbox.state.clients.put(jwt_client())
    error = await rejection(broker, grants.oauth_exchange(ims.base_url))
    assert error.ims_error == "unauthorized_client"
    assert "kind" in error.detail


async def test_an_org_without_consent_is_reported(ims: RunningSandbox, broker: Exchanging) -> None:
    """For an enterprise web app, the same error means that the org has not consented."""
    client = enterprise_client()
    client.consented_orgs.clear()  # type: ignore[attr-defined]  # a dict here
    ims.sandbox.state.clients.put(client)
    credential = grants.enterprise_credential(base_url=ims.base_url, org=grants.OTHER_ORG)
    error = await rejection(broker, grants.oauth_exchange(credential=credential))
    assert "consent" in error.detail


async def test_a_converted_service_account_is_recognised(ims: RunningSandbox, broker: Exchanging) -> None:
    """The 500 for a credential that Adobe has converted looks transient; the detail names the likely cause."""
    ims.sandbox.state.clients.put(oauth_client())
    with pytest.raises(ImsUnavailableError) as caught:
        await broker.exchanger.exchange(await signed_grant(service_account(ims)))
    assert "oauth_server_to_server" in caught.value.detail
    assert not caught.value.throttled


@pytest.mark.parametrize("kind", ["jwt", "oauth"])
@pytest.mark.parametrize(
    "fault",
    [
        FaultKind.GARBAGE, FaultKind.HTML, FaultKind.EMPTY, FaultKind.WRONG_UNIT, FaultKind.NEGATIVE_EXPIRES_IN,
        FaultKind.ZERO_EXPIRES_IN, FaultKind.ABSENT_EXPIRES_IN, FaultKind.ABSURD_EXPIRES_IN, FaultKind.EXPIRED_TOKEN,
        FaultKind.OTHER_CLIENT, FaultKind.OTHER_ORG,
    ],
)  # fmt: skip
async def test_an_answer_that_cannot_be_trusted_is_refused(
    ims: RunningSandbox, broker: Exchanging, kind: str, fault: FaultKind
) -> None:
    """Nonsense, a wrong unit, and tokens that are expired or of another client or org are never returned."""
    ims.sandbox.state.clients.put(jwt_client() if kind == "jwt" else oauth_client())
    grant = await signed_grant(service_account(ims)) if kind == "jwt" else grants.oauth_exchange(ims.base_url)
    ims.sandbox.state.faults.add(Fault(kind=fault, count=1))
    with pytest.raises(BadUpstreamResponseError) as caught:
        await broker.exchanger.exchange(grant)
    assert caught.value.debug_id is not None
    assert broker.sink.of(ExchangeFinished)[-1].outcome == "bad_upstream_response"
    assert broker.sink.of(ExchangeFinished)[-1].debug_id == caught.value.debug_id
    await broker.exchanger.exchange(grant)


@pytest.mark.parametrize(("status", "retry_after", "seconds", "throttled"), [
    (429, "120", 120, True), (429, None, 5, True), (429, "soon", 5, True), (429, "-7", 5, True),
    (429, "1000000000", 3600, True), (429, "9" * 200, 3600, True), (503, "7", 7, True), (500, "30", 30, True),
    (503, None, 5, False), (500, None, 5, False), (502, None, 5, False), (504, None, 5, False), (599, None, 5, False),
])  # fmt: skip
async def test_a_retry_after_of_ims_is_passed_on(
    ims: RunningSandbox, broker: Exchanging, status: int, retry_after: str | None, seconds: float, throttled: bool
) -> None:
    """Retry-After is used with 429 and with any 5xx; nonsense means 5 s, and the maximum is an hour."""
    ims.sandbox.state.clients.put(oauth_client())
    ims.sandbox.state.faults.add(Fault(kind=FaultKind.STATUS, status=status, retry_after=retry_after))
    with pytest.raises(ImsUnavailableError) as caught:
        await broker.exchanger.exchange(grants.oauth_exchange(ims.base_url))
    assert (caught.value.retry_after, caught.value.throttled) == (seconds, throttled)
    assert caught.value.debug_id is not None


@pytest.mark.parametrize("status", [201, 204, 301, 302, 307, 308, 404, 405, 418, 451])
async def test_any_other_status_is_refused(ims: RunningSandbox, broker: Exchanging, status: int) -> None:
    """A status that means neither a token, nor a refusal, nor an outage is a bad upstream response."""
    ims.sandbox.state.clients.put(oauth_client())
    ims.sandbox.state.faults.add(Fault(kind=FaultKind.STATUS, status=status))
    with pytest.raises(BadUpstreamResponseError):
        await broker.exchanger.exchange(grants.oauth_exchange(ims.base_url))


async def test_a_403_with_an_oauth_error_refuses_the_credential(ims: RunningSandbox, broker: Exchanging) -> None:
    """IMS answers some refusals with 403: the OAuth error in the body tells them from the 403 of a firewall."""
    ims.sandbox.state.clients.put(oauth_client())
    ims.sandbox.state.faults.add(Fault(kind=FaultKind.STATUS, status=403, error="access_denied"))
    with pytest.raises(CredentialRejectedError, match="access_denied"):
        await broker.exchanger.exchange(grants.oauth_exchange(ims.base_url))


@pytest.mark.parametrize("fault", [Fault(kind=FaultKind.HANG), Fault(kind=FaultKind.DRIP, seconds=0.05)])
async def test_a_hanging_or_slow_ims_costs_at_most_the_deadline(ims: RunningSandbox, fault: Fault) -> None:
    """An exchange ends within its deadline, whatever IMS does."""
    ims.sandbox.state.clients.put(oauth_client())
    ims.sandbox.state.faults.add(fault)
    async with exchanging(deadline=0.5) as broker:
        begin = time.monotonic()
        with pytest.raises(ImsUnavailableError, match="in time"):
            await broker.exchanger.exchange(grants.oauth_exchange(ims.base_url))
        assert 0.4 < time.monotonic() - begin < 1.5
        assert 0.4 < broker.sink.of(ExchangeFinished)[0].seconds < 1.5


async def test_a_late_answer_is_accepted(ims: RunningSandbox, broker: Exchanging) -> None:
    """An exchange succeeds if the latency is within the deadline."""
    ims.sandbox.state.clients.put(oauth_client())
    ims.sandbox.state.faults.add(Fault(kind=FaultKind.LATENCY, seconds=0.2))
    await broker.exchanger.exchange(grants.oauth_exchange(ims.base_url))
    assert broker.sink.of(ExchangeFinished)[0].seconds > 0.2


async def test_every_answer_measures_the_clock_skew(ims: RunningSandbox, broker: Exchanging) -> None:
    """Even a nonsense response carries the time of IMS; a clock that is 45 s ahead is measured as such."""
    ims.sandbox.state.clients.put(oauth_client())
    ims.sandbox.state.faults.add(Fault(kind=FaultKind.GARBAGE))
    ahead = HttpTokenExchanger(broker.client, lambda: time.time() + 45, broker.sink)
    with pytest.raises(BadUpstreamResponseError):
        await ahead.exchange(grants.oauth_exchange(ims.base_url))
    told = [event.ahead for event in broker.sink.all if isinstance(event, ClockCompared)]
    assert told == [pytest.approx(45, abs=1.5)]
