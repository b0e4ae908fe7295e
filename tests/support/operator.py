"""An operator whose commands change credentials in a real Vault, with Adobe's secrets API played by the sandbox."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.sandbox.clients import client_from
from app.sandbox.secrets_api import SCOPES
from tests.support.fleet import Fleet
from tests.support.processes import Finished, run_cli
from tests.support.tenants import Tenant


class Operator:
    """Runs commands with a login that may write.

    Args:
        fleet: The broker, Vault and IMS.

    """

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.env = {
            "BROKER_VAULT_ADDR": fleet.vault.addr,
            "BROKER_VAULT_TOKEN": fleet.vault.token(fleet.vault.editor_policy()),
            "BROKER_IMS_BASE_URLS": fleet.sandbox.base_url,
        }

    async def run(self, *words: str, **options: Any) -> Finished:
        """Run a command to its end."""
        return await run_cli(*words, env={**self.env, **options.pop("env", {})}, **options)

    async def rotate(self, *words: str) -> Finished:
        """Run `secret rotate` at the sandbox."""
        return await self.run("secret", "rotate", *words, "--console-url", self.fleet.sandbox.base_url)

    def managed(self, **fields: Any) -> Tenant:
        """A tenant that may manage its secrets, with the console's ids in its document."""
        tenant = Tenant(self.fleet.sandbox.base_url, **fields)
        client = {**tenant.client(), "scopes": list(SCOPES)}
        known = client_from(client)
        ids = {"console_org_id": known.console_org_id, "console_credential_id": known.credential_id}
        self.fleet.sandbox.put_client(client)
        self.fleet.vault.put(tenant.org, "default", {**tenant.document(), "scopes": list(SCOPES), **ids})
        return tenant

    def stored(self, tenant: Tenant) -> Mapping[str, Any]:
        """The tenant's document."""
        document = self.fleet.vault.read(f"secret/data/ims/{tenant.org}/default")["data"]["data"]
        assert isinstance(document, dict)
        return document

    def known_secrets(self, tenant: Tenant) -> int:
        """How many secrets of the tenant Adobe accepts."""
        clients = self.fleet.sandbox.order("GET", "/sandbox/clients")["clients"]
        return int(next(each["client_secrets"] for each in clients if each["client_id"] == tenant.client_id))
