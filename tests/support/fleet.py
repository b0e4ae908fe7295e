"""A fleet: replicas of the broker over one Redis, one Vault and one sandbox, with tenants and callers for them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.domain.api_key import SECRET_BYTES, new_api_key
from app.shared_cache.key_ring import new_key_ring
from tests.support.backends import RedisBackend, SandboxBackend
from tests.support.processes import CLI
from tests.support.replica import BrokerProcess
from tests.support.tenants import Tenant
from tests.support.vault_server import VaultServer

CALLER = "tester"
"""The caller that may do everything with every org."""

EVERYTHING = {"orgs": ["*"], "actions": ["vend", "report", "purge", "status"]}


@dataclass(frozen=True)
class Backends:
    """What the replicas of a fleet depend on."""

    redis: RedisBackend
    vault: VaultServer
    sandbox: SandboxBackend


class PolicyDocument:
    """The policy file of a fleet, edited as an operator would: replaced whole.

    Args:
        path: The path of the file.

    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._callers: dict[str, dict[str, object]] = {}
        self._issuers: list[Mapping[str, object]] = []

    def caller(self, name: str, *rules: Mapping[str, object], **fields: object) -> str:
        """Add or replace a caller; its new API key."""
        key = new_api_key(secrets.token_hex(4), secrets.token_bytes(SECRET_BYTES))
        digest = hashlib.sha256(key.encode()).hexdigest()
        self._callers[name] = {"name": name, "match": {"api_key_sha256": [digest]}, "allow": list(rules), **fields}
        self.write()
        return key

    def rules(self, name: str, *rules: Mapping[str, object]) -> None:
        """Give a caller other rules; its key stays."""
        self._callers[name]["allow"] = list(rules)
        self.write()

    def issuer(self, issuer: Mapping[str, object], name: str, subject: str, *rules: Mapping[str, object]) -> None:
        """Trust an issuer, and let one of its subjects be a caller."""
        self.trust(issuer)
        self.matched(name, {"issuer": issuer["issuer"], "subject": subject}, *rules)

    def trust(self, issuer: Mapping[str, object]) -> None:
        """Trust an issuer."""
        self._issuers.append(issuer)
        self.write()

    def matched(self, name: str, match: Mapping[str, object], *rules: Mapping[str, object], **fields: object) -> None:
        """Add or replace a caller that is known by this match."""
        self._callers[name] = {"name": name, "match": match, "allow": list(rules), **fields}
        self.write()

    def remove(self, name: str) -> None:
        """Forget a caller."""
        del self._callers[name]
        self.write()

    def write(self) -> None:
        """Put the file in place at once; JSON is YAML."""
        document = {"version": 1, "issuers": self._issuers, "callers": list(self._callers.values())}
        draft = self.path.with_suffix(".new")
        draft.write_text(json.dumps(document))
        draft.replace(self.path)


class Fleet:
    """Replicas of the broker with their files, policy and tenants.

    Args:
        backends: Redis, Vault and IMS; shared with other fleets.
        folder: The folder for its files.

    """

    def __init__(self, backends: Backends, folder: Path) -> None:
        self.redis, self.vault, self.sandbox = backends.redis, backends.vault, backends.sandbox
        self.replicas: list[BrokerProcess] = []
        self.env: dict[str, str] = {}
        self.cli: Sequence[str] = CLI
        self.folder = folder
        self.policy = PolicyDocument(folder / "policy.json")
        self.key = self.policy.caller(CALLER, EVERYTHING)
        self.vault_token = self.vault.token(self.vault.reader_policy())
        keys = folder / "cache-keys.json"
        keys.write_text(new_key_ring(secrets.token_bytes, "k1", "2026-01-01T00:00:00Z"))
        self.settings: dict[str, str] = {
            "POLICY_FILE": str(self.policy.path),
            "VAULT_ADDR": self.vault.addr,
            "VAULT_TOKEN": self.vault_token,
            "REDIS_URL": self.redis.url,
            # Fleets that share a Redis must not share what is in it.
            "REDIS_PREFIX": f"e2e-{secrets.token_hex(6)}",
            "CACHE_KEYS_FILE": str(keys),
            "IMS_BASE_URLS": self.sandbox.base_url,
        }

    def start(self, count: int = 1, **settings: str) -> list[BrokerProcess]:
        """Start more replicas, all at once; `settings` are variables without ``BROKER_``."""
        first = len(self.replicas)
        new = [
            BrokerProcess(
                f"replica-{first + number}", self.folder, {**self.settings, **settings}, self.key, self.env, self.cli
            )
            for number in range(count)
        ]
        self.replicas += new
        for replica in new:
            replica.process.launch()
        for replica in new:
            replica.listen()
        return new

    def tenant(self, **fields: Any) -> Tenant:
        """A new tenant, known to Vault and to the sandbox; `fields` as of `Tenant`."""
        tenant = Tenant(self.sandbox.base_url, **fields)
        self.store(tenant)
        self.register(tenant)
        return tenant

    def store(self, tenant: Tenant) -> int:
        """Put its document into Vault; the new generation."""
        return self.vault.put(tenant.org, "default", tenant.document())

    def register(self, tenant: Tenant) -> None:
        """Tell the sandbox of it."""
        self.sandbox.put_client(tenant.client())

    def exchanges(self, tenant: Tenant) -> list[dict[str, Any]]:
        """What the sandbox was asked for this tenant, in order."""
        return self.sandbox.journal(tenant.client_id)

    def close(self) -> None:
        """End all replicas."""
        for replica in self.replicas:
            replica.process.kill()


@contextlib.contextmanager
def running_fleet(backends: Backends, folder: Path, count: int, **settings: str) -> Iterator[Fleet]:
    """A fleet of `count` replicas, ended with the context."""
    fleet = Fleet(backends, folder)
    try:
        fleet.start(count, **settings)
        yield fleet
    finally:
        fleet.close()


def outcomes(entries: Sequence[Mapping[str, object]]) -> list[object]:
    """How exchanges of the journal ended."""
    return [entry["outcome"] for entry in entries]
