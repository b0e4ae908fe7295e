"""Tenants whose document for the broker and whose client at the sandbox belong together."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass, field, replace
from typing import Any

from tests.support.keys import KeyWithCertificate, key_pair

SCOPES = ["AdobeID", "openid", "read_organizations"]
METASCOPES = ["ent_aem_cloud_api", "ent_dataservices_sdk"]


@dataclass(frozen=True)
class Tenant:
    """One org with one credential.

    Args:
        base_url: Base URL of its IMS.
        kind: The kind in its document.
        org: Its id; random unless given.
        client_id: Its client id; random unless given.
        client_secrets: What its document holds.
        known_secrets: What the sandbox accepts; None for the same.
        private_key: PEM text for kind ``jwt``.
        passphrase: Passphrase of that key.
        key: The pair whose certificate the sandbox knows.
        token_lifetime: Seconds its tokens live; None for a day.

    """

    base_url: str
    kind: str = "oauth_server_to_server"
    org: str = field(default_factory=lambda: f"{secrets.token_hex(12).upper()}@AdobeOrg")
    client_id: str = field(default_factory=lambda: f"client-{secrets.token_hex(8)}")
    client_secrets: tuple[str, ...] = field(default_factory=lambda: (new_secret(),), repr=False)
    known_secrets: tuple[str, ...] | None = field(default=None, repr=False)
    private_key: str | None = field(default=None, repr=False)
    passphrase: str | None = field(default=None, repr=False)
    key: KeyWithCertificate = field(default_factory=key_pair, repr=False)
    token_lifetime: float | None = None

    def changed(self, **changes: Any) -> Tenant:
        """The same tenant with other fields."""
        return replace(self, **changes)

    def document(self) -> dict[str, object]:
        """What an operator stores in Vault."""
        document: dict[str, object] = {
            "kind": self.kind,
            "org_id": self.org,
            "client_id": self.client_id,
            "technical_account_id": self._account,
            "client_secrets": list(self.client_secrets),
            "ims_base_url": self.base_url,
        }
        if self.kind != "jwt":
            return {**document, "scopes": SCOPES}
        key = {"private_key": self.private_key or self.key.pkcs8, "certificate": self.key.certificate}
        passphrase = {} if self.passphrase is None else {"private_key_passphrase": self.passphrase}
        return {**document, "metascopes": METASCOPES, **key, **passphrase}

    def client(self) -> dict[str, object]:
        """What Adobe knows of it."""
        client: dict[str, object] = {
            "client_id": self.client_id,
            "org_id": self.org,
            "kind": self.kind,
            "client_secrets": list(self.client_secrets if self.known_secrets is None else self.known_secrets),
            "technical_account_id": self._account,
            "token_lifetime": self.token_lifetime,
        }
        if self.kind == "jwt":
            return {**client, "metascopes": METASCOPES, "certificates": [self.key.certificate]}
        return {**client, "scopes": SCOPES}

    @property
    def _account(self) -> str:
        return f"{self.org[:24]}@techacct.adobe.com"


def new_secret() -> str:
    """A client secret as Adobe makes them."""
    return f"p8e-{secrets.token_urlsafe(24)}"


def true_expiry(access_token: str) -> float:
    """Unix time in seconds at which a token ends, by its own claims: the truth."""
    claims = claims_of(access_token)
    return (int(claims["created_at"]) + int(claims["expires_in"])) / 1000


def claims_of(access_token: str) -> dict[str, Any]:
    """What a token says of itself, unverified."""
    payload = access_token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims
