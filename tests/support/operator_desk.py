"""Where an operator works: a folder with Adobe's files, and a login at Vault that may write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.fleet import Fleet
from tests.support.processes import Finished, run_cli
from tests.support.tenants import Tenant


class OperatorDesk:
    """Where an operator works: a folder with Adobe's files, and a login that may write.

    Args:
        fleet: The broker, Vault and IMS.
        folder: The folder.

    """

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        self.fleet = fleet
        self.folder = folder
        self.env = {
            "BROKER_VAULT_ADDR": fleet.vault.addr,
            "BROKER_VAULT_TOKEN": fleet.vault.token(fleet.vault.editor_policy()),
            "BROKER_IMS_BASE_URLS": fleet.sandbox.base_url,
        }

    def tenant(self, **fields: Any) -> Tenant:
        """A tenant that IMS knows and the broker does not."""
        tenant = Tenant(self.fleet.sandbox.base_url, **fields)
        self.fleet.register(tenant)
        return tenant

    def file(self, content: object, name: str = "download.json") -> str:
        """A file on the desk; its name."""
        (self.folder / name).write_text(json.dumps(content))
        return name

    def words(self, *words: str) -> tuple[str, ...]:
        """The command line of `org import` with these words, at the sandbox."""
        return ("org", "import", *words, "--ims-base-url", self.fleet.sandbox.base_url)

    async def imports(self, *words: str) -> Finished:
        """Run `org import` with these words, at the sandbox."""
        return await run_cli(*self.words(*words), env=self.env, cwd=self.folder)

    def versions(self, tenant: Tenant) -> int:
        """How often the tenant's document was written."""
        return sum(
            request["request"]["operation"] in {"create", "update"}
            for request in self.fleet.vault.requests(f"secret/data/ims/{tenant.org}/default")
        )
