"""A fleet of simulated replicas for weeks or years: outages, restarts, and callers that ask for tokens.

`tests/simulation/fleet_year.py` and `benchmarks/fleet.py` use it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from app.domain.access_token import AccessToken
from app.domain.errors import BrokerError
from app.domain.names import CredentialRef, TokenKey, parse_org
from tests.simulation.history import History
from tests.simulation.simulated_network import Process
from tests.simulation.simulated_replica import ReplicaPace, SimulatedReplica
from tests.simulation.simulated_world import EPOCH_OF_TIME, Exchange, ImsBehaviour, SimulatedWorld

HOUR, DAY = 3600.0, 86_400.0

_KEPT_EXCHANGES = 1000


@dataclass(frozen=True)
class Outage:
    """A dependency that fails for a while.

    Args:
        what: ``redis``, ``vault``, ``ims``, ``ims throttles`` or ``redis is emptied``.
        day: When it begins, in days.
        hours: How long it lasts.

    """

    what: str
    day: float
    hours: float = 0.0


class SimulatedFleet:
    """Replicas that share a Redis, a Vault and IMS. To be made inside a `VirtualLoop`.

    Args:
        seed: Seed of all random numbers.
        orgs: How many tenants it serves.
        replicas: The number of replicas.
        pace: How often a replica does what no caller asks for.

    """

    def __init__(self, seed: int, orgs: int, replicas: int, pace: ReplicaPace) -> None:
        refs = [CredentialRef(parse_org(f"{org:024X}@AdobeOrg")) for org in range(orgs)]
        self.world = SimulatedWorld(seed, refs)
        self.keys = [TokenKey(ref) for ref in refs]
        self.requests = self.failed = 0
        self._pace = pace
        self._history = History(self.world, ims_works=False, redis_works=False)
        self.replicas = [self._started(number) for number in range(replicas)]
        self._planned: list[asyncio.Task[None]] = []
        self._seen = 0

    @property
    def began_at(self) -> float:
        """Unix time in seconds of the beginning."""
        return EPOCH_OF_TIME

    @property
    def seconds(self) -> float:
        """The time since the beginning."""
        return self.world.now() - EPOCH_OF_TIME

    def plan(self, outages: Sequence[Outage]) -> None:
        """Let these outages happen."""
        for outage in outages:
            self.at(outage.day, self._happening(outage))

    def at(self, day: float, work: Callable[[], Awaitable[None]]) -> None:
        """Do something later."""

        async def later() -> None:
            await asyncio.sleep(day * DAY)
            await work()

        self._planned.append(asyncio.get_running_loop().create_task(later()))

    def restart_at(self, day: float, number: int) -> None:
        """Let a replica die later, and another one take its place."""

        async def happen() -> None:
            await self.replicas[number].crash()
            self.replicas[number] = self._started(number)

        self.at(day, happen)

    def is_answered_from_memory(self, replica: SimulatedReplica, key: TokenKey) -> bool:
        """Answer a request at once, as the API does it, and count it; False if the token is not usable in memory."""
        if (token := replica.take_usable(key)) is None:
            return False
        self.requests += 1
        self._check(token)
        return True

    async def ask(self, replica: SimulatedReplica, key: TokenKey) -> None:
        """A caller asks for a token; the answer is counted, and must not have expired."""
        self.requests += 1
        try:
            self._check(await replica.vend(key))
        except BrokerError:
            self.failed += 1

    def take_exchanges(self) -> list[Exchange]:
        """What IMS saw since the last call. It is forgotten, so that a year fits into memory."""
        taken = [*self.world.exchanges]
        self.world.exchanges.clear()
        self._seen += len(taken)
        if self._seen > _KEPT_EXCHANGES:
            self._seen = 0
            now = self.world.now()
            for value in [value for value, minted in self.world.minted.items() if minted.expires_at < now]:
                del self.world.minted[value]
        return taken

    def _check(self, token: AccessToken) -> None:
        if self.world.now() >= self.world.minted[token.value].expires_at:
            raise AssertionError("an expired token was answered")

    def _started(self, number: int) -> SimulatedReplica:
        return SimulatedReplica(self.world, Process(f"{number}"), self._history, self._pace)

    def _happening(self, outage: Outage) -> Callable[[], Awaitable[None]]:
        async def happen() -> None:
            world = self.world
            links = {"redis": world.redis_link, "vault": world.vault_link, "ims": world.ims_link}
            if outage.what == "redis is emptied":
                world.redis.flush()
            elif outage.what == "ims throttles":
                world.ims = ImsBehaviour(throttles=60.0)
                await asyncio.sleep(outage.hours * HOUR)
                world.ims = ImsBehaviour()
            else:
                links[outage.what].is_down = True
                await asyncio.sleep(outage.hours * HOUR)
                links[outage.what].is_down = False

        return happen
