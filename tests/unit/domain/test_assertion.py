"""The claims of an assertion."""

from __future__ import annotations

import pytest

from app.domain.assertion import ASSERTION_LIFETIME, assertion_claims
from app.domain.names import Scope
from tests.support import grants


@pytest.mark.parametrize("base_url", ["https://ims-na1.adobelogin.com", "http://127.0.0.1:8099"])
def test_the_claims_are_exactly_those_that_ims_requires(base_url: str) -> None:
    """An assertion has exp, iss, sub, one aud and one true claim per metascope, all with one host, and nothing else."""
    credential = grants.jwt_credential(base_url=base_url)
    assert assertion_claims(credential, grants.METASCOPES, 1000.9) == {
        "exp": 1000 + ASSERTION_LIFETIME,
        "iss": grants.ORG,
        "sub": grants.ACCOUNT,
        "aud": f"{base_url}/c/{grants.CLIENT_ID}",
        f"{base_url}/s/ent_aem_cloud_api": True,
        f"{base_url}/s/ent_dataservices_sdk": True,
    }


def test_exp_is_an_integer_at_most_five_minutes_ahead() -> None:
    """IMS refuses an ``exp`` that is not an integer."""
    exp = assertion_claims(grants.jwt_credential(), grants.METASCOPES, 1_800_000_000.75)["exp"]
    assert type(exp) is int
    assert exp == 1_800_000_300


def test_only_the_requested_metascopes_are_claimed() -> None:
    """A subset of the credential's metascopes gives a subset of the claims."""
    claims = assertion_claims(grants.jwt_credential(), (Scope("ent_aem_cloud_api"),), 0)
    assert [name for name in claims if "/s/" in name] == [f"{grants.BASE_URL}/s/ent_aem_cloud_api"]
