"""OAuth 2.0 client libraries of other people, unchanged: Go's, Python's Authlib, Node's openid-client."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

import pytest
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session

from app.domain.api_key import SECRET_BYTES, new_api_key
from tests.support.fleet import CALLER, Fleet, outcomes
from tests.support.issuer import LocalIssuer
from tests.support.oauth_clients import ClientProgram, NotIssuedError, ReportedToken, go_program, node_program
from tests.support.replica import BrokerProcess
from tests.support.tenants import Tenant, claims_of, true_expiry

pytestmark = pytest.mark.timeout(300)  # the first test of each language also downloads and compiles

STYLES = ("basic", "form")
PLACES = ("form", "query", "both")
"""Where the org is named."""

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
WRONG_KEY = new_api_key("wrong", bytes(SECRET_BYTES))


@pytest.fixture(scope="session")
def go_client(tmp_path_factory: pytest.TempPathFactory) -> ClientProgram:
    """The program that uses golang.org/x/oauth2/clientcredentials."""
    return go_program(tmp_path_factory.mktemp("go-client"))


@pytest.fixture(scope="session")
def node_client(tmp_path_factory: pytest.TempPathFactory) -> ClientProgram:
    """The program that uses openid-client."""
    return node_program(tmp_path_factory.mktemp("node-client"))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("style", STYLES)
def test_go_gets_a_token(fleet: Fleet, go_client: ClientProgram, style: str, place: str) -> None:
    """Go's clientcredentials gets the tenant's token by header or form, wherever the org is named."""
    tenant = fleet.tenant()
    issued = [
        go_client.token(_token_url(replica, tenant, place), CALLER, fleet.key, _form_org(tenant, place), style)
        for replica in fleet.replicas
    ]
    _assert_one_exchange(fleet, tenant, issued, "Bearer")


@pytest.mark.parametrize("style", STYLES)
def test_go_reports_a_wrong_secret(fleet: Fleet, go_client: ClientProgram, style: str) -> None:
    """Go's clientcredentials reports a wrong secret as its own `invalid_client` error, and nothing is exchanged."""
    tenant = fleet.tenant()
    with pytest.raises(NotIssuedError, match=r'^oauth2: "invalid_client"'):
        go_client.token(_token_url(fleet.replicas[0], tenant, "form"), CALLER, WRONG_KEY, tenant.org, style)
    assert fleet.exchanges(tenant) == []


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_authlib_gets_a_token(fleet: Fleet, method: str, place: str) -> None:
    """Authlib gets the tenant's token with a secret by header or form, wherever the org is named."""
    tenant = fleet.tenant()
    org = _form_org(tenant, place)
    form = {"org": org} if org else {}
    issued = [
        _by_authlib(_token_url(replica, tenant, place), CALLER, fleet.key, method, **form) for replica in fleet.replicas
    ]
    _assert_one_exchange(fleet, tenant, issued, "Bearer")


def test_authlib_gets_a_token_with_an_assertion(fleet: Fleet, issuer: LocalIssuer) -> None:
    """Authlib gets the tenant's token with a JWT of a trusted issuer as client assertion, and no secret."""
    tenant = fleet.tenant()
    assertion = {"client_assertion_type": JWT_BEARER, "client_assertion": issuer.token()}
    issued = [
        _by_authlib(_token_url(replica, tenant, "form"), "export", None, "none", org=tenant.org, **assertion)
        for replica in fleet.replicas
    ]
    _assert_one_exchange(fleet, tenant, issued, "Bearer")


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_authlib_reports_a_wrong_secret(fleet: Fleet, method: str) -> None:
    """Authlib reports a wrong secret as its own `invalid_client` error, and nothing is exchanged."""
    tenant = fleet.tenant()
    with pytest.raises(OAuthError) as raised:
        _by_authlib(_token_url(fleet.replicas[0], tenant, "form"), CALLER, WRONG_KEY, method, org=tenant.org)
    assert raised.value.error == "invalid_client"
    assert fleet.exchanges(tenant) == []


@pytest.mark.parametrize("style", STYLES)
def test_node_gets_a_token(fleet: Fleet, node_client: ClientProgram, style: str) -> None:
    """Node's openid-client finds the token endpoint by discovery and gets the tenant's token by header or form."""
    tenant = fleet.tenant()
    issued = [node_client.token(replica.url, CALLER, fleet.key, tenant.org, style) for replica in fleet.replicas]
    _assert_one_exchange(fleet, tenant, issued, "bearer")  # the library makes it lower case


@pytest.mark.parametrize("style", STYLES)
def test_node_reports_a_wrong_secret(fleet: Fleet, node_client: ClientProgram, style: str) -> None:
    """Node's openid-client reports a wrong secret as its challenge error whose response says `invalid_client`."""
    tenant = fleet.tenant()
    with pytest.raises(NotIssuedError, match=r"^WWWAuthenticateChallengeError: invalid_client$"):
        node_client.token(fleet.replicas[0].url, CALLER, WRONG_KEY, tenant.org, style)
    assert fleet.exchanges(tenant) == []


def _token_url(replica: BrokerProcess, tenant: Tenant, place: str) -> str:
    query = "" if place == "form" else f"?{urlencode({'org': tenant.org})}"
    return f"{replica.url}/oauth2/token{query}"


def _form_org(tenant: Tenant, place: str) -> str:
    return "" if place == "query" else tenant.org


def _by_authlib(url: str, name: str, key: str | None, method: str, **form: str) -> ReportedToken:
    with OAuth2Session(name, key, token_endpoint_auth_method=method) as session:
        session.trust_env = False  # no proxy and no .netrc of the machine
        token = session.fetch_token(url, grant_type="client_credentials", timeout=20, **form)
    return ReportedToken(token["access_token"], token["token_type"], token["expires_at"])


def _assert_one_exchange(fleet: Fleet, tenant: Tenant, issued: Sequence[ReportedToken], token_type: str) -> None:
    """All of them are the one token that was exchanged for this tenant, and they report its true end."""
    assert outcomes(fleet.exchanges(tenant)) == ["issued"]
    for one in issued:
        assert claims_of(one.access_token)["client_id"] == tenant.client_id
        assert one.token_type == token_type
        assert abs(one.expiry - true_expiry(one.access_token)) <= 2
    assert len({one.access_token for one in issued}) == 1
