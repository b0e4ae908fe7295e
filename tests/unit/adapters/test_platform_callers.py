"""Tokens as platforms make them, against the policies of `docs/callers.md`: the documented caller and no other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.adapters.jwt_verifier import JwtCallerVerifier, Pace
from app.adapters.policy_file import decode_policy
from app.domain.errors import UnauthenticatedError, UnknownCallerError
from app.domain.policy import Policy
from app.domain.policy_document import parse_policy
from tests.support.fenced import fenced
from tests.support.fetches import Fetches
from tests.support.issuer import SigningKey
from tests.support.manual_time import ManualTime
from tests.support.trusting import NOW

KEY = SigningKey("platform", "RS256")
TENANT, BROKER = "11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-000000000000"
AWS = "https://01234567-89ab-cdef-0123-456789abcdef.tokens.sts.global.api.aws"
ENTRA = f"https://login.microsoftonline.com/{TENANT}/v2.0"
EKS = "https://oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF"
GKE = "https://container.googleapis.com/v1/projects/my-project/locations/europe-west1/clusters/blue"
AKS = f"https://westeurope.oic.prod-aks.azure.com/{TENANT}/{BROKER}/"
GITHUB, GITLAB = "https://token.actions.githubusercontent.com", "https://gitlab.com"
XSUAA = "https://acme.authentication.eu10.hana.ondemand.com/oauth/token"
KEYCLOAK, GOOGLE = "https://keycloak.example.com/realms/services", "https://accounts.google.com"
OURS = "ims-token-broker"

IMMUTABLE = "repo:octo-org@123456/app@456789:environment:production"
REPOSITORY = {
    "repository": "octo-org/app",
    "repository_id": "456789",
    "repository_owner": "octo-org",
    "repository_owner_id": "123456",
    "ref": "refs/heads/main",
    "environment": "production",
    "sub": "repo:octo-org/app:environment:production",
    "run_attempt": "1",
}
PROJECT = {
    "sub": "project_path:acme/app:ref_type:branch:ref:main",
    "project_id": "22",
    "ref": "main",
    "ref_type": "branch",
    "ref_protected": "true",
}
ROLE = {
    "sub": "arn:aws:iam::123456789012:role/export",
    "https://sts.amazonaws.com/": {
        "aws_account": "123456789012",
        "principal_id": "arn:aws:iam::123456789012:role/export",
    },
}
ACCOUNT = {
    "sub": "103456789012345678901",
    "azp": "103456789012345678901",
    "email": "export@my-project.iam.gserviceaccount.com",
    "email_verified": True,
    "google": {"compute_engine": {"project_id": "my-project"}},
}
PRINCIPAL = {
    "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    "oid": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    "tid": TENANT,
    "azp": "bbbbbbbb-bbbb-cccc-dddd-eeeeeeeeeeee",
    "idtyp": "app",
    "ver": "2.0",
    "iat": NOW - 300,
    "nbf": NOW - 300,
    "exp": NOW + 86_400,
}
POD = {
    "sub": "system:serviceaccount:marketing:export",
    "kubernetes.io": {"namespace": "marketing", "serviceaccount": {"name": "export", "uid": "1"}},
}
CLIENT = {
    "sub": "sb-export!t123",
    "cid": "sb-export!t123",
    "azp": "sb-export!t123",
    "zid": TENANT,
    "grant_type": "client_credentials",
    "scope": ["uaa.resource", "ims-token-broker!t123.vend"],
}
SERVICE = {
    "sub": "5f1c2a9b-0000-4000-8000-000000000000",
    "azp": "export",
    "typ": "Bearer",
    "realm_access": {"roles": ["offline_access"]},
}

GOOD: list[tuple[str, str, str, object, dict[str, Any]]] = [
    ("github", "deploy-by-claims", GITHUB, OURS, REPOSITORY),
    ("github", "deploy-by-claims", GITHUB, OURS, {**REPOSITORY, "sub": IMMUTABLE}),
    ("github", "nightly-by-subject", GITHUB, OURS, {"sub": "repo:octo-org/nightly:ref:refs/heads/main"}),
    ("github", "nightly-by-subject", GITHUB, OURS, {"sub": "repo:octo-org@123456/nightly@567890:ref:refs/heads/main"}),
    ("gitlab", "gitlab-release", GITLAB, OURS, PROJECT),
    ("aws", "aws-export", AWS, OURS, ROLE),
    ("gcp", "gcp-export", GOOGLE, OURS, ACCOUNT),
    ("entra", "azure-export", ENTRA, BROKER, PRINCIPAL),
    ("entra", "azure-export", ENTRA, "api://ims-token-broker", PRINCIPAL),
    ("clusters", "eks-export", EKS, [OURS], POD),
    ("clusters", "gke-marketing", GKE, [OURS], POD),
    ("clusters", "aks-export", AKS, [OURS], POD),
    ("xsuaa", "cf-export", XSUAA, ["sb-export!t123", "uaa", "ims-token-broker!t123"], CLIENT),
    ("keycloak", "keycloak-export", KEYCLOAK, [OURS, "account"], SERVICE),
]  # fmt: skip

STRANGERS: list[tuple[str, str, object, dict[str, Any]]] = [
    ("github", GITHUB, OURS, {**REPOSITORY, "environment": "review"}),
    ("github", GITHUB, OURS, {**REPOSITORY, "repository_id": "1"}),
    ("github", GITHUB, OURS, {"sub": "repo:octo-org/nightly:pull_request"}),
    ("github", GITHUB, OURS, {"sub": "repo:octo-org/nightly:ref:refs/heads/main2"}),
    ("gitlab", GITLAB, OURS, {**PROJECT, "ref_protected": "false"}),
    ("gitlab", GITLAB, OURS, {**PROJECT, "ref_type": "tag"}),
    ("aws", AWS, OURS, {**ROLE, "sub": "arn:aws:iam::123456789012:role/export2"}),
    ("gcp", GOOGLE, OURS, {**ACCOUNT, "sub": "203456789012345678901"}),
    ("gcp", GOOGLE, OURS, {**ACCOUNT, "email_verified": "true"}),
    ("entra", ENTRA, BROKER, {**PRINCIPAL, "oid": BROKER}),
    ("clusters", EKS, OURS, {"sub": "system:serviceaccount:finance:export"}),
    ("xsuaa", XSUAA, "ims-token-broker!t123", {**CLIENT, "scope": ["uaa.resource"]}),
    ("keycloak", KEYCLOAK, OURS, {**SERVICE, "azp": "import"}),
]


def documented(platform: str) -> Policy:
    """The policy of the document's section."""
    return parse_policy(decode_policy(fenced("callers.md", platform).encode()), "v")


async def caller_of(policy: Policy, folder: Path, issuer: str, claims: dict[str, Any]) -> str:
    """The caller of a token that the platform's key signed; the header names a key's URL, as XSUAA's does."""
    (folder / "jwks.json").write_text(json.dumps({"keys": [KEY.jwk]}))
    fetches, time = Fetches(), ManualTime()
    verifier = JwtCallerVerifier(lambda: NOW, fetches, Pace(monotonic=time.now, sleep=time.sleep))
    trusted = [replace(one, jwks_url=None, jwks_file=str(folder / "jwks.json")) for one in policy.issuers]
    verifier.trust(tuple(trusted))
    try:
        await fetches.reach(len(trusted))
        header = {"alg": "RS256", "kid": KEY.kid, "typ": "JWT", "jku": f"{issuer}/token_keys"}
        token = KEY.sign(header, {"iss": issuer, "iat": NOW, "exp": NOW + 300, **claims})
        return policy.caller(await verifier.verify(token.encode())).name
    finally:
        await verifier.aclose()


@pytest.mark.parametrize(("platform", "caller", "issuer", "audience", "claims"), GOOD)
async def test_a_token_of_the_platform_is_its_documented_caller(
    tmp_path: Path, platform: str, caller: str, issuer: str, audience: object, claims: dict[str, Any]
) -> None:
    """The policy as printed accepts a token of the platform's shape."""
    policy = documented(platform)
    assert policy.notes == ()
    assert await caller_of(policy, tmp_path, issuer, {"aud": audience, **claims}) == caller


@pytest.mark.parametrize(("platform", "issuer", "audience", "claims"), STRANGERS)
async def test_another_token_of_the_platform_is_refused(
    tmp_path: Path, platform: str, issuer: str, audience: object, claims: dict[str, Any]
) -> None:
    """Another branch, project, account or client of the same issuer is refused."""
    with pytest.raises(UnknownCallerError):
        await caller_of(documented(platform), tmp_path, issuer, {"aud": audience, **claims})


async def test_a_token_for_another_service_proves_nothing(tmp_path: Path) -> None:
    """The right caller's token for another audience is refused on every platform."""
    for platform, _, issuer, _, claims in GOOD:
        with pytest.raises(UnauthenticatedError):
            await caller_of(documented(platform), tmp_path, issuer, {"aud": "sts.amazonaws.com", **claims})
