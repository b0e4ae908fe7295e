"""Injects the faults of a plan into the parts of a rig, repairs them, and records when."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from tests.faults.soak.fault_plan import REPLICAS, STEPPED, PlannedFault, Report, weighted
from tests.faults.soak.recording_clients import RecordingClients
from tests.faults.soak.records import Disturbed, Exchanged, PolicyChanged, RecordedHistory
from tests.faults.soak.rig import SOMETIMES, Rig
from tests.support.children import Child
from tests.support.redis_server import RedisServer
from tests.support.relayed_link import LinkFaults
from tests.support.tenants import new_secret

_LINK_KINDS: dict[str, Callable[[LinkFaults], None]] = {
    "cut": LinkFaults.sever,
    "silence": LinkFaults.silence,
    "latency": lambda link: setattr(link, "delay", 0.4),
    "drip": lambda link: setattr(link, "byte_seconds", 1.0),
    "tear": lambda link: setattr(link, "tear_every", 3),
}
_TOKEN = b":token:"


@dataclass
class Nemesis:
    """Who injects the faults.

    Args:
        rig: The parts.
        clients: Who purges and reports.
        history: Where the faults are recorded.
        report: Shows each fault.
        seen: The number of the last exchange that IMS has listed.

    """

    rig: Rig
    clients: RecordingClients
    history: RecordedHistory
    report: Report
    seen: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    _locks: dict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    async def run(self, plan: Sequence[PlannedFault]) -> None:
        """Inject all faults of a plan, each at its time; ends when all are repaired."""
        async with asyncio.TaskGroup() as group:
            for planned in plan:
                await asyncio.sleep(max(0.0, planned.at - self.rig.now()))
                group.create_task(self._inject(planned))

    async def list_exchanges(self) -> None:
        """Record the exchanges that IMS has seen since the last time."""
        sandbox = self.rig.fleet.sandbox
        listed = await asyncio.to_thread(sandbox.order, "GET", f"/sandbox/journal?since={self.seen}")
        for entry in listed["entries"]:
            self.seen = max(self.seen, int(entry["seq"]))
            if entry["org"] in self.rig.tenants:
                self.history.add(Exchanged(self.rig.at(entry["time"]), entry["org"], entry["outcome"]))

    async def _inject(self, planned: PlannedFault) -> None:
        # A process may take longer to end or to start than planned; what comes next for it waits.
        async with AsyncExitStack() as stack:
            for target in sorted({planned.target, *planned.needs}):
                await stack.enter_async_context(self._locks[target])
            await self._act(planned)

    async def _act(self, planned: PlannedFault) -> None:
        self.report(str(planned))
        self.counts[planned.kind] = self.counts.get(planned.kind, 0) + 1
        draw = random.Random(planned.draw)
        if planned.kind in _LINK_KINDS:
            await self._on_link(planned)
        elif planned.kind in {"freeze", "kill", "terminate"}:
            await self._on_process(planned)
        elif planned.kind.startswith("ims:"):
            await self._during(planned, self._answering(planned.kind[4:], draw))
        else:
            actions: dict[str, Callable[[PlannedFault, random.Random], Awaitable[None]]] = {
                "flush": self._flush,
                "damage": self._damage,
                "swap": self._swap,
                "purge": self._purge,
                "reports": self._reports,
                "rotate": self._rotate,
                "flip": self._flip,
                "deny": self._deny,
                "refuse": self._refuse,
                "clock": self._clock,
                "throttle": self._throttle,
            }
            await actions[planned.kind](planned, draw)

    async def _on_link(self, planned: PlannedFault) -> None:
        link, began = self.rig.links[planned.target], self.rig.now()
        _LINK_KINDS[planned.kind](link)
        await asyncio.sleep(planned.seconds)
        link.heal()
        self._disturbed(planned, began)

    async def _on_process(self, planned: PlannedFault) -> None:
        began, process = self.rig.now(), self._process(planned.target)
        if planned.target == "ims":
            await self.list_exchanges()
            self.seen = 0 if planned.kind == "kill" else self.seen
        if planned.kind == "freeze":
            process.freeze()
        elif planned.kind == "terminate" and isinstance(process, Child):
            process.terminate()
            await asyncio.to_thread(process.ended, 60)
        else:
            await asyncio.to_thread(process.kill)
        await asyncio.sleep(planned.seconds)
        await asyncio.to_thread(self._repair, planned)
        self._disturbed(planned, began)

    def _repair(self, planned: PlannedFault) -> None:
        process = self._process(planned.target)
        if planned.kind == "freeze":
            process.thaw()
        elif planned.target == "redis":
            self.rig.fleet.redis.server.start()
        elif planned.target == "vault":
            self.rig.vault.start()
        elif planned.target == "ims":
            self.rig.start_ims()
        else:
            self.rig.start_replica(int(planned.target.rpartition("-")[2]))

    def _process(self, target: str) -> Child | RedisServer:
        if target == "redis":
            return self.rig.fleet.redis.server
        if target == "vault":
            return self.rig.vault.process
        if target == "ims":
            return self.rig.fleet.sandbox.process
        return self.rig.replicas[int(target.rpartition("-")[2])].process

    async def _during(self, planned: PlannedFault, orders: Sequence[dict[str, Any]], target: str = "ims") -> None:
        """Give IMS orders for as long as the fault lasts."""
        began, sandbox = self.rig.now(), self.rig.fleet.sandbox
        numbers = await asyncio.to_thread(lambda: [sandbox.fault(**order) for order in orders])
        await asyncio.sleep(planned.seconds)
        for number in numbers:
            await asyncio.to_thread(sandbox.order, "DELETE", f"/sandbox/faults/{number}")
        self._disturbed(planned, began, target)

    @staticmethod
    def _answering(kind: str, draw: random.Random) -> list[dict[str, Any]]:
        order: dict[str, Any] = {"kind": kind, "share": draw.choice((0.3, 0.6, 1.0))}
        if kind == "latency":
            order["seconds"] = draw.uniform(0.5, 4.0)
        if kind in {"status", "lost"}:
            order["status"] = draw.choice((500, 502, 503))
        return [order]

    async def _throttle(self, planned: PlannedFault, draw: random.Random) -> None:
        org = self._org(draw)
        order = {"kind": "status", "status": 429, "retry_after": str(draw.randint(1, 4)), "org": org}
        await self._during(planned, [order], f"tenant:{org}")

    async def _refuse(self, planned: PlannedFault, draw: random.Random) -> None:
        """IMS refuses the secret of a tenant."""
        org = self._org(draw)
        order = {"kind": "status", "status": 400, "error": "invalid_client", "org": org}
        began = self.rig.now()
        await self._during(planned, [order], f"tenant:{org}")
        # A refusal is remembered for a minute, or until the document changes (docs/contract.md section 9).
        self.history.add(Disturbed("refused before", f"tenant:{org}", began, self.rig.now() + 60.0))

    async def _flush(self, planned: PlannedFault, _draw: random.Random) -> None:
        began = self.rig.now()
        await asyncio.to_thread(self.rig.fleet.redis.server.flush)
        self._disturbed(planned, began)

    async def _damage(self, planned: PlannedFault, draw: random.Random) -> None:
        """Damage values in Redis: a flipped bit, a shorter value, an empty one, another type."""
        began, run = self.rig.now(), self.rig.fleet.redis.server.run

        def damage() -> None:
            for name in self._token_names(draw, 6):
                value = run("GET", name)
                way = draw.randrange(4)
                if not value or way == 3:
                    run("DEL", name)
                    run("LPUSH", name, "x")
                else:
                    flipped = value[:-1] + bytes([value[-1] ^ 1])
                    run("SET", name, (flipped, value[:-7], b"")[way], "KEEPTTL")

        await asyncio.to_thread(damage)
        self._disturbed(planned, began)

    async def _swap(self, planned: PlannedFault, draw: random.Random) -> None:
        """Swap the tokens of tenants in Redis."""
        began, run = self.rig.now(), self.rig.fleet.redis.server.run

        def swap() -> None:
            names = self._token_names(draw, 6)
            for one, other in zip(names[::2], names[1::2], strict=False):
                first, second = run("GET", one), run("GET", other)
                if first and second:
                    run("SET", one, second, "KEEPTTL")
                    run("SET", other, first, "KEEPTTL")

        await asyncio.to_thread(swap)
        self._disturbed(planned, began)

    def _token_names(self, draw: random.Random, count: int) -> list[bytes]:
        server = self.rig.fleet.redis.server
        names = [name for name in server.key_names() if _TOKEN in name and server.run("TYPE", name) == b"string"]
        return draw.sample(names, min(count, len(names)))

    async def _purge(self, planned: PlannedFault, draw: random.Random) -> None:
        await self.clients.purge(int(planned.target.rpartition("-")[2]) % REPLICAS, self._org(draw))

    async def _reports(self, _planned: PlannedFault, draw: random.Random) -> None:
        await self.clients.report(self._org(draw))

    async def _rotate(self, _planned: PlannedFault, draw: random.Random) -> None:
        """Rotate a secret as operators do: Adobe knows both, the document gets the new one, the old one is deleted."""
        tenant, fleet = self.rig.tenants[self._org(draw)], self.rig.fleet
        new = new_secret()
        both = tenant.changed(known_secrets=(*tenant.client_secrets[:1], new))
        await asyncio.to_thread(fleet.register, both)
        tenant = tenant.changed(client_secrets=(new,), known_secrets=None)
        self.rig.change(tenant)
        await asyncio.to_thread(fleet.store, tenant)
        await asyncio.to_thread(fleet.register, tenant)

    async def _flip(self, planned: PlannedFault, draw: random.Random) -> None:
        """Adobe converts a credential of kind jwt; then its document is changed."""
        org, began = self._org(draw), self.rig.now()
        tenant = self.rig.tenants[org]
        other = "oauth_server_to_server" if tenant.kind == "jwt" else "jwt"
        tenant = tenant.changed(kind=other)
        await asyncio.to_thread(self.rig.fleet.register, tenant)
        await asyncio.to_thread(self.rig.fleet.store, tenant)
        self.rig.change(tenant)
        self._disturbed(planned, began, f"tenant:{org}")

    async def _deny(self, planned: PlannedFault, draw: random.Random) -> None:
        """Take a caller's right to an org away, and give it back. Meanwhile the caller asks each replica for it."""
        org = self._org(draw)
        for allowed in (False, True):
            self.rig.allow(None if allowed else org)
            self.history.add(PolicyChanged(self.rig.now(), SOMETIMES, org, allowed))
            for _ in range(0 if allowed else round(planned.seconds)):
                self.clients.ask_each(SOMETIMES, org)
                await asyncio.sleep(1)

    async def _clock(self, planned: PlannedFault, draw: random.Random) -> None:
        """Set the wall clock of a replica forward or back, and right again."""
        began = self.rig.now()
        self.rig.clock.step(draw.choice((-3600.0, -45.0, 45.0, 3600.0)))
        await asyncio.sleep(planned.seconds)
        self.rig.clock.step(0.0)
        self._disturbed(planned, began, f"replica-{STEPPED}")
        # An assertion with a wrong time is refused, which the replica remembers for a minute.
        self.history.add(Disturbed("refused before", f"replica-{STEPPED}", began, self.rig.now() + 60.0))

    def _org(self, draw: random.Random) -> str:
        return weighted(draw, list(self.rig.tenants))

    def _disturbed(self, planned: PlannedFault, began: float, target: str | None = None) -> None:
        name = target or ("ims" if planned.kind.startswith("ims:") else planned.target)
        self.history.add(Disturbed(planned.kind, name, began, self.rig.now()))
