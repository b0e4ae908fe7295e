"""Row 85: the name server of this machine does not answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.backends import SandboxBackend, sandbox_backend
from tests.support.broker_without_vault import BrokerWithoutVault
from tests.support.processes import CLI
from tests.support.tenants import Tenant
from tests.support.tools import skip_or_fail

NAME_SERVER = "127.88.0.1"
HANGING = "https://ims.hanging.test"
"""A host that only the name server could know."""


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[SandboxBackend]:
    """The IMS, by an address and by a name that needs no name server."""
    with sandbox_backend(tmp_path) as running:
        yield running


@pytest.fixture
def broker(tmp_path: Path, sandbox: SandboxBackend, monkeypatch: pytest.MonkeyPatch) -> Iterator[BrokerWithoutVault]:
    """A broker that sees another ``resolv.conf`` than this machine, with a name server that never answers."""
    resolver = tmp_path / "resolv.conf"
    resolver.write_text(f"nameserver {NAME_SERVER}\n")
    inside = ["unshare", "--mount", "sh", "-c", f'mount --bind {resolver} /etc/resolv.conf && exec "$@"', "sh"]
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("unshare") is None or _fails([*inside, "true"]):
        skip_or_fail("another resolv.conf for one process needs root, and unshare(1)")
    monkeypatch.setattr("tests.support.replica.CLI", (*inside, *CLI))
    hosts = f"{sandbox.base_url},{_by_name(sandbox)},{HANGING}"
    running = BrokerWithoutVault(tmp_path, sandbox, IMS_BASE_URLS=hosts)
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as silent:
        silent.bind((NAME_SERVER, 53))
        try:
            yield running
        finally:
            running.replica.process.kill()


async def test_a_name_server_that_hangs_costs_other_hosts_nothing(
    broker: BrokerWithoutVault, sandbox: SandboxBackend
) -> None:
    """While many tenants wait for a name that hangs, warm tenants and those of other hosts, by name too, are served."""
    warm = broker.tenant()
    waiting = [_at(broker, HANGING) for _ in range(40)]
    cold = [_at(broker, _by_name(sandbox)) for _ in range(5)]
    broker.start()
    assert (await broker.replica.token(warm.org)).status == 200
    hanging = [asyncio.create_task(broker.replica.token(tenant.org)) for tenant in waiting]
    await asyncio.sleep(1)  # until the lookups have filled what they can fill
    for tenant in cold:
        assert (await broker.replica.token(tenant.org)).status == 200
        assert (await broker.replica.token(warm.org)).status == 200
    replies = await asyncio.gather(*hanging)
    assert {(reply.status, reply.json["code"]) for reply in replies} == {(503, "ims_unavailable")}
    assert max(reply.seconds for reply in replies) < 15
    broker.replica.process.terminate()
    assert await asyncio.to_thread(broker.replica.process.ended) == 0


def _at(broker: BrokerWithoutVault, ims_base_url: str) -> Tenant:
    """A tenant whose document names a host."""
    tenant = broker.tenant()
    document = {**tenant.document(), "ims_base_url": ims_base_url}
    broker.document(tenant).write_text(json.dumps(document))
    return tenant


def _by_name(sandbox: SandboxBackend) -> str:
    return sandbox.base_url.replace("127.0.0.1", "localhost")


def _fails(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode != 0
