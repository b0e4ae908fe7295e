"""The rehearsal of docs/regions.md: two regions 80 ms apart, the link between them cut, and one region killed."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.service.mint import REFRESH_WINDOW
from ims_token_broker_client import Broker, TokenError
from tests.support.backends import SandboxBackend, sandbox_backend
from tests.support.fleet import Fleet
from tests.support.processes import run_cli, running_cli
from tests.support.tenants import Tenant
from tests.support.traffic import Traffic
from tests.support.two_regions import TwoRegions, load, two_regions
from tests.support.vault_server import VaultServer, running_vault
from tests.support.waiting import until_answered

LIFETIME = 24.0
"""Seconds for which a token lives."""

TENANTS = 20
PER_SECOND = 50.0
"""Requests in each region."""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxBackend]:
    """IMS, which both regions reach."""
    with sandbox_backend(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture(scope="module")
def far_vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultServer]:
    """The Vault of the far region."""
    with running_vault(tmp_path_factory.mktemp("far-vault")) as server:
        yield server


@pytest.fixture
async def regions(
    vault_server: VaultServer, far_vault: VaultServer, sandbox: SandboxBackend, tmp_path: Path
) -> AsyncIterator[TwoRegions]:
    """Each region has a Vault of its own."""
    async with two_regions((vault_server, far_vault), sandbox, tmp_path) as running:
        yield running


@pytest.mark.timeout(300)
async def test_a_link_cut_for_the_whole_life_of_a_token_costs_nothing(regions: TwoRegions) -> None:
    """Both regions answer everything and exchange once for each token; a purge names the region that it missed."""
    tenants = regions.tenants(TENANTS, LIFETIME)
    [leaked] = regions.tenants(1, None)
    began = time.monotonic()
    await regions.warm([*tenants, leaked])
    old = [(await region.replicas[0].token(leaked.org)).json["access_token"] for region in (regions.far, regions.near)]
    async with load(regions.near, tenants, PER_SECOND, 1) as near, load(regions.far, tenants, PER_SECOND, 2) as far:
        with regions.link.cut():
            async with running_cli("purge", "--org", leaked.org, "--everywhere", env=regions.operator) as purging:
                await until_answered(lambda: _is_new(regions.near, leaked, old[1]), 10)
                assert purging.stdout.text == ""  # it still waits for the other region
                missed = await purging.ended()
            assert missed.code == 1, missed
            assert f"{leaked.org} at {regions.near.replicas[0].url}: purged" in missed.stdout
            assert f"{leaked.org} at {regions.far_url}: not purged" in missed.stderr
            document = {**leaked.document(), "not_before": datetime.now(UTC).isoformat()}
            regions.near.vault.put(leaked.org, "default", document)
            await asyncio.sleep(began + 1.25 * LIFETIME - time.monotonic())
            assert not await _is_new(regions.far, leaked, old[0])
        # Vault's replication catches up. The region reads the document for another token of this credential.
        regions.far.vault.put(leaked.org, "default", document)
        assert (await regions.far.replicas[0].token(leaked.org, scope="openid")).status == 200
        await until_answered(lambda: _is_new(regions.far, leaked, old[0]), 5)
    repeated = await run_cli("purge", "--org", leaked.org, "--everywhere", env=regions.operator)
    assert repeated.code == 0, repeated
    await _check(regions, tenants, near, far, began)


@pytest.mark.timeout(300)
async def test_a_region_cut_off_from_the_only_vault_serves_its_tokens(
    vault_server: VaultServer, sandbox: SandboxBackend, tmp_path: Path
) -> None:
    """With one Vault for all, the region that reads it from afar answers everything while the cut is under half a life.

    Afterwards it refreshes every token before its end.
    """
    async with two_regions((vault_server, vault_server), sandbox, tmp_path) as regions:
        tenants = regions.tenants(TENANTS, LIFETIME)
        began = time.monotonic()
        await regions.warm(tenants)
        async with load(regions.near, tenants, PER_SECOND, 3) as near, load(regions.far, tenants, PER_SECOND, 4) as far:
            await asyncio.sleep(0.3 * LIFETIME)
            with regions.link.cut():
                await asyncio.sleep(0.4 * LIFETIME)
            await asyncio.sleep(LIFETIME)
        await _check(regions, tenants, near, far, began)


@pytest.mark.timeout(300)
async def test_clients_with_two_urls_do_not_notice_the_end_of_a_region(regions: TwoRegions) -> None:
    """All of a region is killed under clients that run and under clients that start: each call gets a token."""
    tenants = regions.tenants(TENANTS, None)
    await regions.warm(tenants)
    clients = Clients([regions.far.replicas[0].url, regions.near.replicas[0].url], regions.near.key, tenants)
    with clients.running():
        await _until_more(clients, 20)
        for replica in regions.far.replicas:
            replica.process.kill()
        regions.far.redis.server.kill()
        await _until_more(clients, 100)
    assert clients.failures == []
    assert all(len(regions.near.exchanges(tenant)) == 2 for tenant in tenants)  # one in each region
    print(f"{clients.started} clients that started and {clients.kept} calls of others, 0 failures")


class Clients:
    """Applications with the Python client: one that runs all the time, and others that start one after the other.

    Args:
        urls: The brokers, in order.
        key: The callers' API key.
        tenants: Whose tokens they get.

    """

    def __init__(self, urls: Sequence[str], key: str, tenants: Sequence[Tenant]) -> None:
        self._urls, self._key, self._tenants = list(urls), key, tenants
        self._stop = threading.Event()
        self.started = self.kept = 0
        self.failures: list[TokenError] = []

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run them while the context lasts."""
        threads = [threading.Thread(target=work) for work in (self._run, self._start)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(30)

    def _run(self) -> None:
        broker = Broker(self._urls, api_key=self._key)
        while not self._stop.wait(0.02):
            for tenant in self._tenants:
                self.kept += self._gets_token(broker, tenant)

    def _start(self) -> None:
        while not self._stop.wait(0.02):
            self.started += self._gets_token(Broker(self._urls, api_key=self._key), self._tenants[0])

    def _gets_token(self, broker: Broker, tenant: Tenant) -> bool:
        try:
            broker.tokens(tenant.org, max_age=0.5).get()  # after half a second it asks whether there is a newer one
        except TokenError as error:
            self.failures.append(error)
            return False
        return True


async def _until_more(clients: Clients, started: int) -> None:
    """Wait until so many more clients have started."""
    enough = clients.started + started

    async def is_enough() -> bool:
        return clients.started >= enough or bool(clients.failures)

    await until_answered(is_enough, 60)


async def _is_new(region: Fleet, tenant: Tenant, old: str) -> bool:
    """Whether no replica of the region answers the old token."""
    return old not in await _tokens(region, [tenant])


async def _tokens(region: Fleet, tenants: Sequence[Tenant]) -> set[str]:
    replies = [await replica.token(tenant.org) for replica in region.replicas for tenant in tenants]
    return {reply.json["access_token"] for reply in replies}


async def _check(regions: TwoRegions, tenants: Sequence[Tenant], near: Traffic, far: Traffic, began: float) -> None:
    """Everything was answered, and each region exchanged once for each of its tokens."""
    assert near.failures() == far.failures() == []
    exchanges = sum(len(regions.near.exchanges(tenant)) for tenant in tenants)
    lives = 1 + int((time.monotonic() - began) / (REFRESH_WINDOW[0] * LIFETIME))
    assert exchanges <= 2 * lives * len(tenants)
    served = [{reply.json["access_token"] for _, reply in load_of_one.replies} for load_of_one in (near, far)]
    for region, tokens in zip((regions.near, regions.far), served, strict=True):
        tokens |= await _tokens(region, tenants)
    assert served[0].isdisjoint(served[1])
    assert exchanges <= len(served[0] | served[1]), "a token was minted that no one got"
    print(
        f"{len(near.replies)} + {len(far.replies)} requests, 0 failures; {exchanges} exchanges"
        f" for {len(tenants)} tenants in two regions over {lives} lives at most"
    )
