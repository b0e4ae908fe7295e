"""Ready credentials and grants."""

from __future__ import annotations

from app.domain.credential import Credential, EnterpriseWebAppCredential, JwtCredential, OAuthServerToServerCredential
from app.domain.grant import Grant, grant_of
from app.domain.names import CredentialRef, OrgId, Scope
from app.domain.signing import RemoteKey, StoredKey

ORG = OrgId("0123456789ABCDEF01234567@AdobeOrg")
OTHER_ORG = OrgId("76543210FEDCBA9876543210@AdobeOrg")
CLIENT_ID = "cm-p1-e2-integration"
SECRET = "p8e-canary-client-secret"
ACCOUNT = "ABCDEF0123456789ABCDEF01@techacct.adobe.com"
SCOPES = (Scope("AdobeID"), Scope("openid"))
METASCOPES = (Scope("ent_aem_cloud_api"), Scope("ent_dataservices_sdk"))
BASE_URL = "https://ims-na1.adobelogin.com"


def jwt_credential(
    *,
    base_url: str = BASE_URL,
    private_key: str | None = "-----BEGIN none-----",
    passphrase: str | None = None,
    certificate: str | None = None,
    generation: str = "1",
    ref: CredentialRef | None = None,
    client_id: str = CLIENT_ID,
    transit_key: str = "",
) -> JwtCredential:
    """A service account."""
    return JwtCredential(
        ref=ref or CredentialRef(ORG),
        generation=generation,
        client_id=client_id,
        client_secrets=(SECRET,),
        scopes=METASCOPES,
        technical_account_id=ACCOUNT,
        ims_base_url=base_url,
        certificate=certificate,
        sandbox=None,
        signing=StoredKey(private_key, passphrase) if private_key is not None else RemoteKey("transit", transit_key),
    )


def oauth_credential(
    *, base_url: str = BASE_URL, client_id: str = CLIENT_ID, account: str | None = ACCOUNT
) -> OAuthServerToServerCredential:
    """An OAuth Server-to-Server credential."""
    return OAuthServerToServerCredential(
        ref=CredentialRef(ORG),
        generation="1",
        client_id=client_id,
        client_secrets=(SECRET,),
        scopes=SCOPES,
        technical_account_id=account,
        ims_base_url=base_url,
        certificate=None,
        sandbox=None,
    )


def enterprise_credential(*, base_url: str = BASE_URL, org: OrgId = ORG) -> EnterpriseWebAppCredential:
    """An enterprise web app for one consenting org."""
    return EnterpriseWebAppCredential(
        ref=CredentialRef(org),
        generation="1",
        client_id=CLIENT_ID,
        client_secrets=(SECRET,),
        scopes=SCOPES,
        technical_account_id=None,
        ims_base_url=base_url,
        certificate=None,
        sandbox=None,
    )


def jwt_exchange(base_url: str = BASE_URL, assertion: str = "an.assertion.x") -> Grant:
    """The exchange of an assertion."""
    credential = jwt_credential(base_url=base_url)
    return grant_of(credential, credential.scopes, SECRET, assertion)


def oauth_exchange(
    base_url: str = BASE_URL,
    credential: Credential | None = None,
    secret: str = SECRET,
    scopes: tuple[Scope, ...] | None = None,
) -> Grant:
    """A client credentials grant; for all scopes if none are named."""
    credential = credential or oauth_credential(base_url=base_url)
    return grant_of(credential, scopes or credential.scopes, secret)
