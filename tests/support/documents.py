"""Credential documents as operators store them, with canaries for secrets."""

from __future__ import annotations

from collections.abc import Mapping

from app.domain.names import CredentialName, CredentialRef, OrgId
from app.hosts import DEFAULT_IMS_BASE_URL

ALLOWED = frozenset({DEFAULT_IMS_BASE_URL})
CANARY = "canary-7d1f"
"""Part of every secret below: where it turns up, a secret leaked."""

SECRET = f"p8e-{CANARY}-secret"
PRIVATE_KEY = f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\n"


def ref_of(number: int, name: str = "default") -> CredentialRef:
    """A reference to an org of its own."""
    return CredentialRef(OrgId(f"{number:024X}@AdobeOrg"), CredentialName(name))


def oauth_document(ref: CredentialRef, **changes: object) -> dict[str, object]:
    """A valid document of kind ``oauth_server_to_server``, with `changes`."""
    return {
        "kind": "oauth_server_to_server",
        "org_id": ref.org,
        "client_id": "abcdef0123456789",
        "client_secrets": [SECRET],
        "technical_account_id": "ABCDEF0123456789@techacct.adobe.com",
        "scopes": ["openid", "AdobeID"],
        **changes,
    }


def jwt_document(ref: CredentialRef, **changes: object) -> dict[str, object]:
    """A valid document of kind ``jwt``, with `changes`."""
    document = oauth_document(ref, kind="jwt", metascopes=["ent_dataservices_sdk"], private_key=PRIVATE_KEY)
    del document["scopes"]
    return {**document, **changes}


def app_document(**changes: object) -> dict[str, object]:
    """A valid document of an app, with `changes`."""
    return {"client_id": "shared-app", "client_secrets": [SECRET], "scopes": ["openid", "AdobeID"], **changes}


def app_org_document(ref: CredentialRef, app: str, **changes: object) -> dict[str, object]:
    """A valid document of an org that names an app, with `changes`."""
    return {"kind": "enterprise_web_app", "org_id": ref.org, "app": app, **changes}


def without(document: Mapping[str, object], name: str) -> dict[str, object]:
    """The document without one field."""
    return {key: value for key, value in document.items() if key != name}
