"""Rows 36 and 39: an IMS host that answers a byte a second, or a gigabyte, next to tenants of another one."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.backends import sandbox_backend
from tests.support.broker_without_vault import BrokerWithoutVault
from tests.support.crowd import at_once
from tests.support.ims_server import AcceptedConnection, Script, run_raw
from tests.support.traffic import Traffic, traffic
from tests.support.wire import Reply

HOSTILE, WARM, COLD = 40, 20, 5
"""Tenants of the hostile host, and of the other one."""

RATE = 50
MEBIBYTE = 2**20
GIGABYTE = 1024 * MEBIBYTE

MOST_GROWTH = 32 * MEBIBYTE
"""Of the broker's memory at its peak, for `HOSTILE` answers at once."""

MOST_CPU_SECONDS = 1.5

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@dataclass
class Flood:
    """Endless answers.

    Args:
        head: How each begins.
        piece: What is repeated.
        sent: Bytes of all of them so far.

    """

    head: bytes
    piece: bytes
    sent: int = 0

    async def __call__(self, line: AcceptedConnection) -> None:
        """Send a gigabyte."""
        await line.request()
        await line.send(self.head)
        for _ in range(GIGABYTE // len(self.piece)):
            await line.send(self.piece)
            self.sent += len(self.piece)
            await asyncio.sleep(0)  # The broker's clients run here, too.


FLOODS = {
    "a chunked body": (_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 65_536 + b"\r\n"),
    "a body of unknown length": (_HEAD + b"\r\n", b"[" * 65_536),
    "an error": (b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n\r\n", b" " * 65_536),
    "a header": (b"HTTP/1.1 200 OK\r\nX-Filler: ", b"y" * 65_536),
    "headers": (b"HTTP/1.1 200 OK\r\n", (b"X-Filler: " + b"y" * 1000 + b"\r\n") * 64),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2000),
}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerWithoutVault]:
    """A broker that is not started yet, and a sandbox."""
    (tmp_path / "sandbox").mkdir()
    with sandbox_backend(tmp_path / "sandbox") as sandbox:
        broker = BrokerWithoutVault(tmp_path, sandbox)
        try:
            yield broker
        finally:
            broker.replica.process.kill()


@dataclass(frozen=True)
class Effects:
    """What a hostile host caused.

    Args:
        hostile: The answers to requests for its own tenants.
        cold: Those for cold tenants of the other host, meanwhile.
        warm: Those for its warm tenants, meanwhile.
        growth: By how many bytes the broker's memory grew, at its peak.
        cpu: Seconds of CPU time of the broker.

    """

    hostile: list[Reply]
    cold: list[Reply]
    warm: Traffic
    growth: int
    cpu: float


async def seen_beside(broker: BrokerWithoutVault, script: Script) -> Effects:
    """Start the broker, and ask for tenants of a host with this script while others are asked for."""
    async with run_raw(script) as host:
        broker.start(IMS_BASE_URLS=f"{broker.sandbox.base_url},{host.base_url}")
        replica, hostile = broker.replica, [broker.tenant() for _ in range(HOSTILE)]
        for tenant in hostile:
            elsewhere = tenant.changed(base_url=host.base_url)
            broker.document(tenant).write_text(json.dumps(elsewhere.document()))
        warm, cold = [broker.tenant() for _ in range(WARM)], [broker.tenant() for _ in range(COLD)]
        assert {(await replica.token(tenant.org)).status for tenant in warm} == {200}
        memory, cpu = _memory(replica.process.pid, "VmRSS"), _cpu(replica.process.pid)
        async with traffic(lambda number: replica.token(warm[number % WARM].org), RATE) as seen:
            crowd = asyncio.create_task(at_once((replica, replica.token_request(tenant.org)) for tenant in hostile))
            others = [await replica.token(tenant.org) for tenant in cold]
            replies = await crowd
        growth = _memory(replica.process.pid, "VmHWM") - memory
        return Effects(replies, others, seen, growth, _cpu(replica.process.pid) - cpu)


@pytest.mark.parametrize("name", FLOODS)
async def test_a_gigabyte_costs_little_memory_and_no_other_tenant(broker: BrokerWithoutVault, name: str) -> None:
    """Wherever in the answer a gigabyte is, it ends at the bound, and tenants of another host are served as before."""
    flood = Flood(*FLOODS[name])
    seen = await seen_beside(broker, flood)
    print(f"{name}: {seen.growth / MEBIBYTE:.0f} MiB, {seen.cpu:.2f} s of CPU, {flood.sent / MEBIBYTE:.0f} MiB sent")
    assert Counter((reply.status, reply.json["code"]) for reply in seen.hostile) == {
        (502, "bad_upstream_response"): HOSTILE
    }
    assert seen.warm.failures() == []
    assert {reply.status for reply in seen.cold} == {200}
    assert seen.growth < MOST_GROWTH
    assert seen.cpu < MOST_CPU_SECONDS


@pytest.mark.timeout(120)
async def test_a_byte_a_second_costs_no_other_tenant(broker: BrokerWithoutVault) -> None:
    """Its own tenants get 503 with Retry-After within 15 s; those of another host are served as before."""

    async def drip(line: AcceptedConnection) -> None:
        await line.request()
        for value in _HEAD + b"Content-Length: 2\r\n\r\n{}":
            await line.send(bytes([value]))
            await asyncio.sleep(1.0)

    began = time.monotonic()
    seen = await seen_beside(broker, drip)
    print(f"{time.monotonic() - began:.1f} s, {seen.growth / MEBIBYTE:.0f} MiB, {seen.cpu:.2f} s of CPU")
    assert Counter((reply.status, reply.json["code"]) for reply in seen.hostile) == {(503, "ims_unavailable"): HOSTILE}
    assert all(int(reply.header("retry-after") or 0) >= 1 for reply in seen.hostile)
    assert max(reply.seconds for reply in seen.hostile) < 15
    assert seen.warm.failures() == []
    assert {reply.status for reply in seen.cold} == {200}
    assert seen.growth < MOST_GROWTH
    assert seen.cpu < MOST_CPU_SECONDS


def _memory(pid: int, name: str) -> int:
    """Bytes of a process' memory: ``VmRSS`` now, ``VmHWM`` at its peak."""
    lines = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return next(int(words[1]) * 1024 for words in lines if words[0] == f"{name}:")


def _cpu(pid: int) -> float:
    """Seconds of CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
