"""One broker with a directory of credentials and a sandbox: what Prometheus looks at, without Vault or Redis."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.backends import SandboxBackend, sandbox_backend
from tests.support.fleet import CALLER, PolicyDocument
from tests.support.replica import Replica
from tests.support.tenants import Tenant


@dataclass(frozen=True)
class ObservedBroker:
    """A broker and what a test does around it."""

    replica: Replica
    sandbox: SandboxBackend
    policy: PolicyDocument
    tenants: tuple[Tenant, ...]


@contextlib.contextmanager
def observed_broker(folder: Path, count: int = 1, token_lifetime: float | None = None) -> Iterator[ObservedBroker]:
    """``serve`` for `count` tenants, of both kinds by turns, ended with the context."""
    with sandbox_backend(folder) as sandbox:
        policy = PolicyDocument(folder / "policy.json")
        key = policy.caller(CALLER, {"orgs": ["*"], "actions": ["vend", "report", "purge", "status"]})
        kinds = ("oauth_server_to_server", "jwt")
        tenants = tuple(
            Tenant(sandbox.base_url, kind=kinds[number % 2], token_lifetime=token_lifetime) for number in range(count)
        )
        credentials = folder / "credentials"
        for tenant in tenants:
            sandbox.put_client(tenant.client())
            file = credentials / tenant.org / "default.json"
            file.parent.mkdir(parents=True)
            file.write_text(json.dumps(tenant.document()))
        settings = {
            "POLICY_FILE": str(policy.path),
            "CREDENTIAL_STORE": "directory",
            "CREDENTIAL_DIR": str(credentials),
            "IMS_BASE_URLS": sandbox.base_url,
        }
        replica = Replica("observed", folder, settings, key)
        try:
            replica.process.launch()
            replica.listen()
            yield ObservedBroker(replica, sandbox, policy, tenants)
        finally:
            replica.process.kill()
