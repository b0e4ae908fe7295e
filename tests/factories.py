"""Ready-made values of the domain; a test names only what it is about."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from app.domain.access_token import AccessToken
from app.domain.credential import (
    Credential,
    CredentialKind,
    EnterpriseWebAppCredential,
    JwtCredential,
    OAuthServerToServerCredential,
)
from app.domain.identity import Issuer
from app.domain.names import (
    ALL_SCOPES,
    DEFAULT_CREDENTIAL,
    CredentialName,
    CredentialRef,
    OrgId,
    Scope,
    ScopeSelection,
    TokenKey,
    scopes_of,
)
from app.domain.policy import DEFAULT_ACTIONS, Action, Caller, Policy, Rule
from app.domain.rate_limit import RateLimit
from app.domain.signing import RemoteKey, StoredKey

ORG = OrgId("0123456789ABCDEF01234567@AdobeOrg")
OTHER_ORG = OrgId("FEDCBA9876543210FEDCBA98@AdobeOrg")
UNKNOWN_ORG = OrgId("000000000000000000000000@AdobeOrg")
REF = CredentialRef(ORG)
OTHER_REF = CredentialRef(OTHER_ORG)
KEY = TokenKey(REF)
OTHER_KEY = TokenKey(OTHER_REF)
SCOPES = scopes_of(["AdobeID", "openid", "session"])
ISSUER = Issuer("https://issuer.example", ("ims-token-broker",), jwks_url="https://issuer.example/jwks")
ALL_ACTIONS = frozenset(Action)

_CANARY = "canary-secret-of-the-tenant"


def make_key(org: OrgId = ORG, credential: str = DEFAULT_CREDENTIAL, scopes: str | None = None) -> TokenKey:
    """A token key; `scopes` as a caller names them."""
    selection = ALL_SCOPES if scopes is None else ScopeSelection(scopes_of(scopes.split()), exact=True)
    return TokenKey(CredentialRef(org, CredentialName(credential)), selection)


def make_token(
    key: TokenKey = KEY,
    value: str = "eyJ.canary-token",
    *,
    minted_at: float = 1_900_000_000.0,
    life: float = 86_400.0,
    refresh_share: float = 0.5,
    epoch: int = 0,
    scopes: tuple[Scope, ...] = SCOPES,
    sandbox: str | None = None,
) -> AccessToken:
    """A token; `refresh_share` is the share of its life after which it ages."""
    return AccessToken(
        key=key,
        value=value,
        client_id="client-of-the-tenant",
        kind="oauth_server_to_server",
        ims_base_url="https://ims-na1.adobelogin.com",
        scopes=scopes,
        generation="1",
        epoch=epoch,
        minted_at=minted_at,
        expires_at=minted_at + life,
        refresh_at=minted_at + life * refresh_share,
        sandbox=sandbox,
    )


def make_credential(
    ref: CredentialRef = REF,
    kind: CredentialKind = CredentialKind.OAUTH_SERVER_TO_SERVER,
    *,
    generation: str = "1",
    secrets: tuple[str, ...] = (_CANARY,),
    scopes: tuple[Scope, ...] = SCOPES,
    transit_key: str | None = None,
    certificate: str | None = None,
    sandbox: str | None = None,
    not_before: float | None = None,
) -> Credential:
    """A credential of `kind`; a key object is never made of its private key here."""
    fields = {
        "ref": ref,
        "generation": generation,
        "client_id": "client-of-the-tenant",
        "client_secrets": secrets,
        "scopes": scopes,
        "ims_base_url": "https://ims-na1.adobelogin.com",
        "certificate": certificate,
        "sandbox": sandbox,
        "not_before": not_before,
    }
    account = "ABCDEF0123456789ABCDEF01@techacct.adobe.com"
    match kind:
        case CredentialKind.JWT:
            return JwtCredential(
                **fields,  # type: ignore[arg-type]  # one dictionary serves three classes
                technical_account_id=account,
                signing=RemoteKey("transit", transit_key) if transit_key else StoredKey("-----BEGIN canary-key-----"),
            )
        case CredentialKind.OAUTH_SERVER_TO_SERVER:
            return OAuthServerToServerCredential(**fields, technical_account_id=account)  # type: ignore[arg-type]  # as above
        case CredentialKind.ENTERPRISE_WEB_APP:
            return EnterpriseWebAppCredential(**fields, technical_account_id=None)  # type: ignore[arg-type]  # as above


def make_api_key(name: str = "journey") -> str:
    """An API key, the same one for the same name."""
    return f"itb_{name}_{hashlib.sha256(name.encode()).hexdigest()}"


def make_caller(
    name: str = "journey",
    *rules: Rule,
    subject: str | None = None,
    rate_limit: RateLimit | None = None,
    api_keys: Iterable[str] | None = None,
) -> Caller:
    """A caller with the API key of its name; without rules it may vend and report for `ORG`."""
    keys = (make_api_key(name),) if api_keys is None else api_keys
    return Caller(
        name,
        rules or (Rule(frozenset({ORG})),),
        frozenset(hashlib.sha256(key.encode()).digest() for key in keys),
        frozenset() if subject is None else frozenset({(ISSUER.issuer, subject)}),
        rate_limit,
    )


def make_rule(
    *orgs: OrgId,
    actions: Iterable[Action] = DEFAULT_ACTIONS,
    scopes: str | None = None,
    credentials: Iterable[str] = (DEFAULT_CREDENTIAL,),
) -> Rule:
    """A rule; without orgs it is for every org."""
    return Rule(
        frozenset(orgs) or None,
        frozenset(CredentialName(name) for name in credentials),
        None if scopes is None else frozenset(scopes_of(scopes.split())),
        frozenset(actions),
    )


def make_policy(*callers: Caller, version: str = "v1") -> Policy:
    """A policy; without callers it has the one of `make_caller`."""
    return Policy(callers or (make_caller(),), (ISSUER,), version)
