"""Three brokers, Redis, Vault and IMS as real processes, with a link between each pair that can fail."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.soak.fault_plan import REPLICAS, STEPPED
from tests.support.backends import redis_backend, sandbox_backend
from tests.support.children import free_port, listens, wait_until
from tests.support.durable_vault import DurableVault, durable_vault
from tests.support.fleet import EVERYTHING, Backends, Fleet, running_fleet
from tests.support.relayed_link import LinkFaults, relayed
from tests.support.replica import BrokerProcess
from tests.support.repository import ROOT
from tests.support.stepped_clock import SteppedClock
from tests.support.tenants import Tenant

STEADY, SOMETIMES, STRANGER = "steady", "sometimes", "stranger"
"""Callers: one that may get all tokens, one whose rights change, and one that may do nothing."""

LIFETIMES = (40.0, 90.0, 240.0)
TENANTS = 40

START_SECONDS = 180.0
"""A replica needs seconds; on a machine that does much else, an hour's run must not end because of one slow start."""


@dataclass
class Rig:
    """All parts of a run.

    Args:
        fleet: The replicas with their policy and backends.
        vault: The process of Vault.
        links: The links by name, such as ``redis-0``.
        clock: The wall clock of replica `STEPPED`.
        client_ports: Per replica, the port that clients use.
        tenants: The tenants by org, as they are now.
        keys: The API keys of the callers.
        began: The monotonic time of the beginning.
        starts: How often each replica was started.

    """

    fleet: Fleet
    vault: DurableVault
    links: dict[str, LinkFaults]
    clock: SteppedClock
    client_ports: list[int] = field(default_factory=list)
    tenants: dict[str, Tenant] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    starts: list[int] = field(default_factory=lambda: [1] * REPLICAS)
    secrets: dict[str, str] = field(default_factory=dict)
    _wall: float = field(default_factory=lambda: time.time() - time.monotonic())

    def now(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.began

    def at(self, unix_time: float) -> float:
        """A Unix time as seconds since the beginning."""
        return unix_time - self._wall - self.began

    @property
    def replicas(self) -> list[BrokerProcess]:
        """The replicas."""
        return self.fleet.replicas

    def allow(self, denied: str | None = None) -> None:
        """Write the policy: the caller whose rights change has all orgs, without one if it is named."""
        allowed = [org for org in self.tenants if org != denied]
        self.fleet.policy.rules(SOMETIMES, {"orgs": allowed})

    def change(self, tenant: Tenant) -> None:
        """A tenant has other secrets from now on."""
        self.tenants[tenant.org] = tenant
        for number, secret in enumerate((*tenant.client_secrets, *(tenant.known_secrets or ()))):
            self.secrets[f"client secret {number} of {tenant.client_id}: {len(self.secrets)}"] = secret

    def start_ims(self) -> None:
        """Start IMS again, and let it know the URL of its link."""
        self.fleet.sandbox.start()
        self.name_ims()

    def name_ims(self) -> None:
        """Let IMS accept assertions for the URL of its link."""
        sandbox = self.fleet.sandbox
        sandbox.order("PUT", "/sandbox/settings", {"base_urls": [sandbox.base_url, f"http://127.0.0.1:{sandbox.port}"]})

    def start_replica(self, number: int) -> None:
        """Start a replica again after it ended, and wait until it answers."""
        replica = self.replicas[number]
        replica.process.launch()
        self.starts[number] += 1
        complaint = f"replica {number} does not start: {replica.process.tail()}"
        wait_until(lambda: listens(replica.port), complaint, START_SECONDS)


@asynccontextmanager
async def running_rig(folder: Path, seed: int, bug: str | None = None) -> AsyncIterator[Rig]:
    """All parts, running, for as long as the context lasts; the brokers with a bug of `planted_bugs` if it is named."""
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(redis_backend())
        vault, vault_server = await asyncio.to_thread(stack.enter_context, durable_vault(folder))
        sandbox = await asyncio.to_thread(stack.enter_context, sandbox_backend(folder))
        links: dict[str, LinkFaults] = {}

        async def link(name: str, port: int) -> int:
            links[name] = LinkFaults()
            return await stack.enter_async_context(relayed(port, links[name]))

        sandbox.base_url = f"http://127.0.0.1:{await link('ims-link', sandbox.port)}"
        fleet = stack.enter_context(running_fleet(Backends(redis, vault_server, sandbox), folder, 0))
        rig = Rig(fleet, vault, links, SteppedClock(folder / "clock"))
        of_bug = {} if bug is None else {"PYTHONPATH": str(ROOT)}
        if bug is not None:
            fleet.cli = (sys.executable, "-m", "tests.faults.soak.broken_broker", bug)
        rig.name_ims()
        await asyncio.to_thread(_make_tenants, rig, random.Random(seed))
        _make_callers(rig)
        for number in range(REPLICAS):
            port = free_port()
            settings = {
                "PORT": str(port),
                "REDIS_URL": redis.url.replace(
                    f":{redis.server.port}/", f":{await link(f'redis-{number}', redis.server.port)}/"
                ),
                "VAULT_ADDR": f"http://127.0.0.1:{await link(f'vault-{number}', vault.port)}",
                "LOG_LEVEL": "DEBUG" if number == REPLICAS - 1 else "INFO",
            }
            fleet.env = {**of_bug, **(rig.clock.env if number == STEPPED else {})}
            await asyncio.to_thread(fleet.start, 1, **settings)
            rig.client_ports.append(await link(f"clients-{number}", port))
        rig.began = time.monotonic()
        yield rig


def _make_tenants(rig: Rig, draw: random.Random) -> None:
    for number in range(TENANTS):
        kind = "jwt" if number % 3 == 0 else "oauth_server_to_server"
        tenant = rig.fleet.tenant(kind=kind, token_lifetime=LIFETIMES[number % len(LIFETIMES)])
        rig.change(tenant)
    orgs = list(rig.tenants.items())
    draw.shuffle(orgs)
    rig.tenants = dict(orgs)


def _make_callers(rig: Rig) -> None:
    policy = rig.fleet.policy
    rig.keys[STEADY] = policy.caller(STEADY, {**EVERYTHING})
    rig.keys[SOMETIMES] = policy.caller(SOMETIMES, {"orgs": list(rig.tenants)})
    rig.keys[STRANGER] = policy.caller(STRANGER)
