"""Two regions that share nothing but IMS and the link between them: each with its own Redis, Vault and replicas."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.backends import SandboxBackend, redis_backend
from tests.support.fleet import Backends, Fleet, running_fleet
from tests.support.relayed_link import LinkFaults, relayed
from tests.support.tenants import Tenant
from tests.support.traffic import Traffic, traffic
from tests.support.vault_server import VaultServer
from tests.support.wire import Reply

ROUND_TRIP = 0.080
"""Seconds, as between Europe and the east of North America."""

REPLICAS = 2


@dataclass(frozen=True)
class TwoRegions:
    """Both regions. The same callers are known in both.

    Args:
        near: The region of the operator.
        far: The other one.
        link: What happens on the way from `near` to `far` and back.
        far_url: Where the operator reaches `far`: across the link.

    """

    near: Fleet
    far: Fleet
    link: LinkFaults
    far_url: str

    def tenants(self, count: int, lifetime: float | None) -> list[Tenant]:
        """Tenants whose documents are in both Vaults, and whose tokens live for `lifetime` seconds."""
        made = [self.near.tenant(token_lifetime=lifetime) for _ in range(count)]
        for tenant in made:
            self.far.store(tenant)  # as a performance replica of the Vault would have it
        return made

    async def warm(self, tenants: Sequence[Tenant]) -> None:
        """Let every replica have a token of each tenant."""
        for replica in (*self.near.replicas, *self.far.replicas):
            for tenant in tenants:
                reply = await replica.token(tenant.org)
                assert reply.status == 200, reply.body

    @property
    def operator(self) -> dict[str, str]:
        """The variables of an operator. The far region comes first, so that it could hold up the near one."""
        return {"ITB_URLS": f"{self.far_url},{self.near.replicas[0].url}", "ITB_API_KEY": self.near.key}


@contextlib.contextmanager
def _two_fleets(
    vaults: tuple[VaultServer, VaultServer], sandbox: SandboxBackend, folder: Path
) -> Iterator[tuple[Fleet, Fleet]]:
    folders = folder / "near", folder / "far"
    for each in folders:
        each.mkdir()
    with (
        redis_backend() as first,
        redis_backend() as second,
        running_fleet(Backends(first, vaults[0], sandbox), folders[0], 0) as near,
        running_fleet(Backends(second, vaults[1], sandbox), folders[1], 0) as far,
    ):
        far.settings["POLICY_FILE"], far.key = near.settings["POLICY_FILE"], near.key
        yield near, far


@contextlib.asynccontextmanager
async def two_regions(
    vaults: tuple[VaultServer, VaultServer], sandbox: SandboxBackend, folder: Path
) -> AsyncIterator[TwoRegions]:
    """Two regions, `ROUND_TRIP` apart; `vaults` are those of the near and of the far region.

    If both have the same Vault, the far region reads it across the link.
    """
    link = LinkFaults(delay=ROUND_TRIP)
    with _two_fleets(vaults, sandbox, folder) as (near, far):
        near.start(REPLICAS)
        async with relayed(_port(near.vault.addr), link) as vault_across:
            across = {"VAULT_ADDR": f"http://127.0.0.1:{vault_across}"} if near.vault is far.vault else {}
            await asyncio.to_thread(lambda: far.start(REPLICAS, **across))  # the relay runs in this thread
            async with relayed(far.replicas[0].port, link) as far_across:
                yield TwoRegions(near, far, link, f"http://127.0.0.1:{far_across}")


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


def load(
    region: Fleet, tenants: Sequence[Tenant], per_second: float, seed: int
) -> contextlib.AbstractAsyncContextManager[Traffic]:
    """Callers of a region: each request is for any tenant, at any replica."""
    draw = random.Random(seed)  # a test, no secrets

    def ask(_number: int) -> Awaitable[Reply]:
        return draw.choice(region.replicas).token(draw.choice(tenants).org)

    return traffic(ask, per_second)
