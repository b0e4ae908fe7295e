"""A real broker in its smallest form, for tests of what runs next to it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.backends import SandboxBackend, sandbox_backend
from tests.support.children import free_port, listens, wait_until
from tests.support.fleet import CALLER, EVERYTHING, PolicyDocument
from tests.support.replica import BrokerProcess
from tests.support.tenants import Tenant
from tests.support.waiting import until


class BrokerWithoutVault:
    """A broker whose tenants and callers a test makes; its credentials are files, and it has no Redis by default.

    Args:
        folder: The folder for its files.
        sandbox: The IMS that the broker uses.
        settings: More ``BROKER_`` variables, without the prefix.

    """

    def __init__(self, folder: Path, sandbox: SandboxBackend, **settings: str) -> None:
        self.sandbox = sandbox
        self._folder = folder
        self._store = folder / "credentials"
        self._store.mkdir()
        self.policy = PolicyDocument(folder / "policy.json")
        self.tenants: list[Tenant] = []
        self.port = free_port()
        self._settings = {
            "PORT": str(self.port),
            "POLICY_FILE": str(self.policy.path),
            "CREDENTIAL_STORE": "directory",
            "CREDENTIAL_DIR": str(self._store),
            "IMS_BASE_URLS": sandbox.base_url,
            **settings,
        }
        self.replica = BrokerProcess("broker", folder, self._settings, self.policy.caller(CALLER, EVERYTHING))

    def tenant(self, *, sandbox_name: str | None = None, stored: bool = True, **fields: Any) -> Tenant:
        """A new tenant, known to the broker and to IMS."""
        tenant = Tenant(self.sandbox.base_url, **fields)
        self.sandbox.put_client(tenant.client())
        if stored:
            named = {} if sandbox_name is None else {"sandbox": sandbox_name}
            place = self.document(tenant)
            place.parent.mkdir()
            place.write_text(json.dumps({**tenant.document(), **named}))
        self.tenants.append(tenant)
        return tenant

    def document(self, tenant: Tenant) -> Path:
        """The file of a tenant's document."""
        return self._store / tenant.org / "default.json"

    async def audit_line(self, **fields: object) -> dict[str, object]:
        """The last line of its audit log with these fields, waited for."""

        def lines() -> list[dict[str, object]]:
            return [line for line in self.replica.audit_lines() if fields.items() <= line.items()]

        await until(lambda: bool(lines()))
        return lines()[-1]

    def connections(self) -> set[str]:
        """The other ends of all its connections, also of those closed within the last minute, by the kernel's table."""
        rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
        return {row[1] for row in rows if row[2].endswith(f":{self.port:04X}")}

    def start(self, **settings: str) -> None:
        """Start it, again on the same port where it ran before; `settings` as of the class."""
        self.replica = BrokerProcess("broker", self._folder, {**self._settings, **settings}, self.replica.key)
        self.replica.process.launch()
        # Not by its log, in which an earlier start has said the same.
        wait_until(lambda: listens(self.port), f"the broker does not start: {self.replica.process.tail()}")
        self.replica.port = self.port


@contextlib.contextmanager
def broker_without_vault(folder: Path, count: int, token_lifetime: float | None = None) -> Iterator[BrokerWithoutVault]:
    """One with an IMS of its own and `count` tenants, of both kinds by turns, for as long as the context lasts."""
    with sandbox_backend(folder) as sandbox:
        broker = BrokerWithoutVault(folder, sandbox)
        for number in range(count):
            broker.tenant(kind=("oauth_server_to_server", "jwt")[number % 2], token_lifetime=token_lifetime)
        try:
            broker.start()
            yield broker
        finally:
            broker.replica.process.kill()
