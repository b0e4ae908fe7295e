"""The two tenants of ``dev``: their credential documents, and the matching sandbox clients."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.adapters.certificates import certificate_not_after
from app.cli.failure import USAGE, CommandError
from app.cli.new_file import replace_file
from app.cli.self_signed import new_key_pair
from app.domain.credential import Credential, JwtCredential
from app.domain.credential_document import parse_credential
from app.domain.names import CredentialRef, OrgId
from app.domain.tenant_errors import CredentialMisconfiguredError
from app.hosts import normal_ims_base_url
from app.sandbox import SandboxClient

JWT_ORG = OrgId("DEMOJWT00000000000000001@AdobeOrg")
OAUTH_ORG = OrgId("DEMOOAUTH000000000000002@AdobeOrg")
DEMO_ORGS = (JWT_ORG, OAUTH_ORG)

_DAY = 86400.0

Document = dict[str, object]


@dataclass(frozen=True, slots=True)
class DemoTenant:
    """One tenant whose credential document is written.

    Args:
        credential: What the broker reads.
        client: The client that the sandbox knows.

    """

    credential: Credential
    client: SandboxClient


def demo_tenants(directory: Path, ims_base_url: str) -> tuple[DemoTenant, ...]:
    """Write the tenants' documents below `directory`, with `ims_base_url` as their IMS.

    Keys, secrets and scopes of an earlier run are kept. Only the URL changes, because the sandbox takes another port
    each time, and an expired certificate is replaced together with its key.

    Raises:
        CommandError: A document there does not belong to a demo tenant, or cannot be written.

    """
    return tuple(_tenant(directory, org, make, ims_base_url) for org, make in _MAKERS.items())


def _tenant(directory: Path, org: OrgId, make: Callable[[], Document], ims_base_url: str) -> DemoTenant:
    path = directory / org / "default.json"
    document = _existing(path)
    if document is None:
        document = make()
    document["ims_base_url"] = ims_base_url
    try:
        credential = _parsed(document, org, ims_base_url)
        if credential.certificate and certificate_not_after(credential.certificate) < time.time() + _DAY:
            document |= _new_key(credential.client_id)
            credential = _parsed(document, org, ims_base_url)
    except CredentialMisconfiguredError as error:
        raise CommandError(f"{path}: {error.field}: {error.expected}.", USAGE) from None
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_file(path, f"{json.dumps(document, indent=2)}\n")
    return DemoTenant(credential, _client_of(credential))


def _existing(path: Path) -> Document | None:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise CommandError(f"{path} cannot be read as a credential document; remove it to create a new one.", USAGE)
    return document


def _parsed(document: Document, org: OrgId, ims_base_url: str) -> Credential:
    return parse_credential(document, CredentialRef(org), "demo", frozenset({normal_ims_base_url(ims_base_url)}))


def _client_of(credential: Credential) -> SandboxClient:
    is_jwt = isinstance(credential, JwtCredential)
    return SandboxClient(
        client_id=credential.client_id,
        org_id=credential.ref.org,
        kind=credential.kind,
        client_secrets=credential.client_secrets,
        technical_account_id=credential.technical_account_id,
        scopes=() if is_jwt else credential.scopes,
        metascopes=credential.scopes if is_jwt else (),
        certificates=(credential.certificate,) if credential.certificate else (),
    )


def _new_jwt_document() -> Document:
    return {
        "kind": "jwt",
        **_identity(JWT_ORG, "demo-jwt"),
        "metascopes": ["ent_dataservices_sdk"],
        **_new_key("demo-jwt"),
    }


def _new_oauth_document() -> Document:
    scopes = ["openid", "AdobeID", "cjm.suppression_service.client.all"]
    return {"kind": "oauth_server_to_server", **_identity(OAUTH_ORG, "demo-oauth"), "scopes": scopes}


def _identity(org: OrgId, client_id: str) -> Document:
    return {
        "org_id": org,
        "client_id": client_id,
        "technical_account_id": f"{org.partition('@')[0]}@techacct.adobe.com",
        "client_secrets": [f"p8e-{secrets.token_urlsafe(24)}"],
    }


def _new_key(client_id: str) -> Document:
    pair = new_key_pair(client_id, time.time())
    return {"private_key": pair.private_key, "certificate": pair.certificate}


_MAKERS = {JWT_ORG: _new_jwt_document, OAUTH_ORG: _new_oauth_document}
