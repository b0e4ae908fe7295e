"""The broker's own CPU time for a cold mint of kind ``jwt``: Vault, signature, exchange, seal, Redis, audit.

The same credential is minted with many different sets of scopes, so each mint reads the document from a real Vault,
signs an assertion and exchanges it, while the key is parsed already. The time of Vault, of IMS and of Redis is theirs,
and not counted.
"""

from __future__ import annotations

import json
import random
import statistics
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path

from benchmarks.load import Effort
from benchmarks.report import Row, at_most
from benchmarks.scene import Scene, scene
from benchmarks.servers import LOAD_CORE, Served, cpu_seconds, on_core
from tests.support.tenants import Tenant
from tests.support.vault_server import MOUNT, PREFIX, VaultServer, running_vault

_METASCOPES = [f"ent_product{number}_sdk" for number in range(12)]
_MINTS = 50
"""In each round."""


def measure(effort: Effort) -> list[Row]:
    """The row of the cold mint."""
    sets = _sets_of_scopes(_MINTS * (effort.rounds + 1))
    with scene() as stage, tempfile.TemporaryDirectory() as folder, on_core(LOAD_CORE):
        stage.start_redis()
        tenant = Tenant(stage.base_url, kind="jwt")
        with running_vault(Path(folder)) as vault:
            broker = _broker(stage, vault, tenant)
            rounds = [
                _cpu_of_mints(stage, broker, tenant.org, sets[at : at + _MINTS]) for at in range(0, len(sets), _MINTS)
            ][1:]  # The first round parses the key and opens the connections.
    milliseconds = 1000 * statistics.median(rounds) / _MINTS
    seen = f"{_MINTS} in a round, RSA 2048, document from Vault, token sealed in Redis"
    reason = (
        "The signature, calls to Vault (hvac) and IMS (httpx2), and five round trips to Redis, each with its event."
    )
    return [Row("cold mint of kind jwt, own CPU time", "", at_most(8, "ms"), milliseconds, seen, reason)]


def _sets_of_scopes(count: int) -> list[str]:
    """Different sets of the credential's scopes, each as a value of ``scope``."""
    draw = random.Random(0)  # the same in each run; no secrets
    found: dict[str, None] = {}
    while len(found) < count:
        found[" ".join(sorted(draw.sample(_METASCOPES, draw.randint(1, len(_METASCOPES)))))] = None
    return list(found)


def _broker(stage: Scene, vault: VaultServer, tenant: Tenant) -> Served:
    """A broker whose only credential has all the metascopes."""
    vault.put(tenant.org, "default", {**tenant.document(), "metascopes": _METASCOPES})
    client = json.dumps({**tenant.client(), "metascopes": _METASCOPES}).encode()
    url = f"{stage.base_url}/sandbox/clients/{tenant.client_id}"
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, client, headers, method="PUT"), timeout=10):
        pass
    return stage.start_broker(
        {
            "BROKER_CREDENTIAL_STORE": "vault",
            "BROKER_VAULT_ADDR": vault.addr,
            "BROKER_VAULT_TOKEN": vault.token(vault.reader_policy()),
            "BROKER_VAULT_MOUNT": MOUNT,
            "BROKER_VAULT_PREFIX": PREFIX,
        }
    )


def _cpu_of_mints(stage: Scene, broker: Served, org: str, sets: list[str]) -> float:
    before = cpu_seconds(broker.pid)
    for scopes in sets:
        stage.get(broker, f"/token?{urllib.parse.urlencode({'org': org, 'scope': scopes})}")
    return cpu_seconds(broker.pid) - before
