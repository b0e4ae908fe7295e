"""Files as Adobe's consoles and tools hand them out, for a tenant of the tests (docs/ims.md section 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.tenants import METASCOPES, SCOPES, Tenant

EMAIL = "00000000-0000-0000-0000-000000000000@techacct.adobe.com"


def aem_service_credentials(tenant: Tenant) -> dict[str, Any]:
    """The AEM Developer Console: everything in one file, CRLF, metascopes as one string, a bare host."""
    return {
        "ok": True,
        "integration": {
            "imsEndpoint": tenant.base_url,
            "metascopes": ",".join(METASCOPES),
            "technicalAccount": {"clientId": tenant.client_id, "clientSecret": tenant.client_secrets[0]},
            "email": EMAIL,
            "id": _account(tenant),
            "org": tenant.org,
            "privateKey": tenant.key.pkcs1_crlf,
            "publicKey": tenant.key.certificate.replace("\n", "\r\n"),
        },
        "statusCode": 200,
    }


def oauth_member(tenant: Tenant) -> dict[str, Any]:
    """One OAuth Server-to-Server credential of a project: it has no org."""
    return {
        "client_id": tenant.client_id,
        "client_secrets": list(tenant.client_secrets),
        "technical_account_email": EMAIL,
        "technical_account_id": _account(tenant),
        "scopes": SCOPES,
    }


def jwt_member(tenant: Tenant) -> dict[str, Any]:
    """One service account (JWT) of a project: it has neither org nor private key."""
    return {
        "client_id": tenant.client_id,
        "client_secret": tenant.client_secrets[0],
        "technical_account_email": EMAIL,
        "technical_account_id": _account(tenant),
        "meta_scopes": METASCOPES,
    }


def project(org: str | None, *credentials: Mapping[str, object]) -> dict[str, Any]:
    """The Adobe Developer Console: a project with a workspace, whose `credentials` are members by flow."""
    named = [
        {"id": str(number), "name": f"Credential {number}", "integration_type": "oauth_server_to_server", **credential}
        for number, credential in enumerate(credentials, 1)
    ]
    return {
        "project": {
            "id": "4566206088344794932",
            "name": "ExampleProject",
            "org": {"id": "25591412", "name": "Example", **({} if org is None else {"ims_org_id": org})},
            "workspace": {
                "id": "4566206088344812970",
                "name": "Production",
                "details": {"credentials": named, "services": [{"code": "CampaignSDK", "name": "Journey Optimizer"}]},
            },
        }
    }


def oauth_project(tenant: Tenant) -> dict[str, Any]:
    """A project with one OAuth Server-to-Server credential."""
    return project(tenant.org, {"oauth_server_to_server": oauth_member(tenant)})


def jwt_project(tenant: Tenant) -> dict[str, Any]:
    """A project with one service account (JWT)."""
    return project(tenant.org, {"jwt": jwt_member(tenant)})


def aio_contexts(*contexts: Mapping[str, object]) -> dict[str, Any]:
    """The configuration of aio with its IMS contexts."""
    named = {f"context{number}": context for number, context in enumerate(contexts)}
    return {"ims": {"contexts": named, "config": {"current": "context0"}}}


def aio_jwt(tenant: Tenant) -> dict[str, Any]:
    """A context of aio for a service account, with its key as a list of lines."""
    return {**jwt_member(tenant), "ims_org_id": tenant.org, "private_key": tenant.key.pkcs8.splitlines()}


def aio_oauth(tenant: Tenant) -> dict[str, Any]:
    """A context of aio for OAuth Server-to-Server."""
    return {**oauth_member(tenant), "ims_org_id": tenant.org}


def postman(tenant: Tenant, *, signs: bool) -> dict[str, Any]:
    """The console's export for Postman: variables with text; those of the token are empty."""
    values = {
        "CLIENT_SECRET": tenant.client_secrets[0],
        "API_KEY": tenant.client_id,
        "ACCESS_TOKEN": "",
        "TECHNICAL_ACCOUNT_ID": _account(tenant),
        "IMS": tenant.base_url,
        "IMS_ORG": tenant.org,
    }
    values |= {"META_SCOPE": "", "PRIVATE_KEY": tenant.key.pkcs8} if signs else {"SCOPES": ", ".join(SCOPES)}
    if signs:
        values["META_SCOPE"] = ",".join(f"https://ims-na1.adobelogin.com/s/{scope}" for scope in METASCOPES)
    rows = [{"key": key, "value": value, "enabled": True} for key, value in values.items()]
    return {"name": "OAuth Server-to-Server", "values": rows}


def console_download(tenant: Tenant) -> dict[str, Any]:
    """The button "Download JSON" of one credential."""
    return {
        "ORG_ID": tenant.org,
        "CLIENT_ID": tenant.client_id,
        "CLIENT_SECRETS": list(tenant.client_secrets),
        "TECHNICAL_ACCOUNT_ID": _account(tenant),
        "TECHNICAL_ACCOUNT_EMAIL": EMAIL,
        "SCOPES": SCOPES,
    }


def _account(tenant: Tenant) -> str:
    return f"{tenant.org[:24]}@techacct.adobe.com"
