"""The forms that are posted to IMS."""

from __future__ import annotations

from app.domain.credential import ExpiresInUnit
from app.domain.grant import grant_of
from app.domain.names import Scope
from tests.support import grants


def test_an_assertion_is_exchanged_at_the_jwt_endpoint_in_milliseconds() -> None:
    """The JWT exchange sends exactly Adobe's three fields, and its times are in milliseconds."""
    grant = grants.jwt_exchange(assertion="a.b.c")
    assert grant.url == "https://ims-na1.adobelogin.com/ims/exchange/jwt"
    assert grant.form == {"client_id": grants.CLIENT_ID, "client_secret": grants.SECRET, "jwt_token": "a.b.c"}
    assert grant.credential.expires_in_unit is ExpiresInUnit.MILLISECONDS


def test_client_credentials_go_to_the_token_endpoint_in_seconds() -> None:
    """The client credentials grant joins scopes with commas, names no org, and its times are in seconds."""
    grant = grants.oauth_exchange()
    assert grant.url == "https://ims-na1.adobelogin.com/ims/token/v3"
    assert grant.form == {
        "grant_type": "client_credentials",
        "client_id": grants.CLIENT_ID,
        "client_secret": grants.SECRET,
        "scope": "AdobeID,openid",
    }
    assert grant.credential.expires_in_unit is ExpiresInUnit.SECONDS


def test_an_enterprise_web_app_names_the_stored_org() -> None:
    """Only an enterprise web app sends ``org_id``, and it is the credential's own org."""
    credential = grants.enterprise_credential(org=grants.OTHER_ORG)
    assert grants.oauth_exchange(credential=credential).form["org_id"] == grants.OTHER_ORG


def test_a_grant_requests_only_its_own_scopes() -> None:
    """The scopes of the form are those of the grant, not all of the credential's."""
    credential = grants.oauth_credential()
    grant = grant_of(credential, (Scope("openid"),), "second-secret")
    assert (grant.form["scope"], grant.form["client_secret"]) == ("openid", "second-secret")


def test_a_grant_never_shows_its_secrets() -> None:
    """A grant's repr contains neither a client secret nor an assertion."""
    shown = repr(grants.jwt_exchange(assertion="canary-assertion"))
    assert "canary" not in shown
