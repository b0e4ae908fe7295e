"""Sandbox clients that belong to the credentials of `tests.support.grants`."""

from __future__ import annotations

from app.sandbox import SandboxClient
from tests.support import grants
from tests.support.keys import key_pair


def jwt_client(
    *,
    secrets: tuple[str, ...] = (grants.SECRET,),
    certificates: tuple[str, ...] | None = None,
    token_lifetime: float | None = None,
) -> SandboxClient:
    """The service account."""
    return SandboxClient(
        client_id=grants.CLIENT_ID,
        org_id=grants.ORG,
        kind="jwt",
        client_secrets=secrets,
        technical_account_id=grants.ACCOUNT,
        metascopes=tuple(grants.METASCOPES),
        certificates=(key_pair().certificate,) if certificates is None else certificates,
        token_lifetime=token_lifetime,
    )


def oauth_client(
    *,
    client_id: str = grants.CLIENT_ID,
    org: str = grants.ORG,
    secrets: tuple[str, ...] = (grants.SECRET,),
    token_lifetime: float | None = None,
) -> SandboxClient:
    """The OAuth Server-to-Server client."""
    return SandboxClient(
        client_id=client_id,
        org_id=org,
        kind="oauth_server_to_server",
        client_secrets=secrets,
        technical_account_id=grants.ACCOUNT,
        scopes=(*grants.SCOPES, "read_organizations"),
        token_lifetime=token_lifetime,
    )


def enterprise_client() -> SandboxClient:
    """The enterprise web app; a second org has consented to it."""
    return SandboxClient(
        client_id=grants.CLIENT_ID,
        org_id=grants.ORG,
        kind="enterprise_web_app",
        client_secrets=(grants.SECRET,),
        technical_account_id=grants.ACCOUNT,
        scopes=tuple(grants.SCOPES),
        consented_orgs={grants.OTHER_ORG: "0123456789ABCDEF0123AAAA@techacct.adobe.com"},
    )
