"""One simulated replica: the real service code, on simulated systems."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from app.api.limits import Limits
from app.domain.access_token import AccessToken
from app.domain.dependency_errors import OverloadedError
from app.domain.errors import BrokerError
from app.domain.events import Event
from app.domain.names import CredentialRef, TokenKey
from app.service.backoff import RefreshBackoff
from app.service.epochs import Epochs
from app.service.keeper import Keeper
from app.service.memory import TokenMemory
from app.service.mint import Minter
from app.service.purges import PurgePace, Purges
from app.service.shared_exchange import SharedExchange
from app.service.vend import TokenVendor
from tests.fakes import FakeSigner
from tests.simulation.history import History
from tests.simulation.simulated_network import Process
from tests.simulation.simulated_redis import RedisConnection
from tests.simulation.simulated_world import SimulatedIms, SimulatedVault, SimulatedWorld

REQUEST_SECONDS = Limits().request_seconds
"""The deadline that the API gives each request."""

KEEP_WARM = 72 * 3600.0
"""Seconds; the default of ``BROKER_KEEP_WARM``."""


@dataclass(frozen=True)
class ReplicaPace:
    """How often a replica does what no caller asks for, in seconds.

    Args:
        purge_retry: As of `PurgePace`.
        purge_compare: As of `PurgePace`.
        keeper_pause: Between two looks of the keeper.
        listen: For one read of the stream of purges.

    """

    purge_retry: float = 2.0
    purge_compare: float = 8.0
    keeper_pause: float = 2.0
    listen: float = 20.0


class _NoEvents:
    """Takes the events, which no one looks at: the history has what counts."""

    def emit(self, event: Event) -> None:
        """Forget it."""


class SimulatedReplica:
    """A replica that runs until it crashes.

    Args:
        world: What it shares with others.
        process: Its process.
        history: Takes what it answers.
        pace: How often it does what no caller asks for.

    """

    def __init__(
        self, world: SimulatedWorld, process: Process, history: History, pace: ReplicaPace | None = None
    ) -> None:
        pace = pace or ReplicaPace()
        self.process = process
        self.epochs = Epochs()
        self._world = world
        self._history = history
        self._tasks: set[asyncio.Task[Any]] = set()
        redis = RedisConnection(world.redis, world.redis_link, process, pace.listen)
        draw, sink = world.draw.uniform, _NoEvents()
        memory = TokenMemory(self.clock, world.now, draw=draw)
        vault, ims = SimulatedVault(world, process), SimulatedIms(world, process)
        minter = Minter(vault, {"stored": FakeSigner("key")}, ims, lambda _pem: 0.0, sink, self.clock, draw)
        exchange = SharedExchange(redis, redis, minter, self.epochs, sink, self.clock, draw=draw)
        purge_pace = PurgePace(pace.purge_retry, pace.purge_compare)
        self._purges = Purges(memory, redis, self.epochs, sink, self.clock, purge_pace)
        backoff = RefreshBackoff(draw)
        self._vendor = TokenVendor(memory, exchange, self._purges, self.epochs, sink, self.clock, world.now, backoff)
        keeper = Keeper(
            memory, self._vendor, backoff, KEEP_WARM, self.clock, world.now, lambda _: asyncio.sleep(pace.keeper_pause)
        )
        self.memory = memory
        self.run(self._purges.listen())
        self.run(keeper.run())

    def clock(self) -> float:
        """Its wall clock: Unix time in seconds."""
        return self._world.now() + self.process.skew

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` until it ends or the replica crashes."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def take_usable(self, key: TokenKey) -> AccessToken | None:
        """The token in memory, if a caller gets it at once."""
        usable = self._vendor.take_usable(key, self.clock())
        return None if usable is None else usable[0]

    async def vend(self, key: TokenKey) -> AccessToken:
        """A caller's token, which the history does not get. Raises `BrokerError`."""
        return (await self._vendor.vend(key)).token

    async def request(self, key: TokenKey, min_ttl: float = 0.0) -> None:
        """A caller asks for a token; the history gets the answer."""
        asked = self._history.asked(self.process, key)
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                token = (await self._vendor.vend(key, min_ttl)).token
        except TimeoutError:
            asked.failed(OverloadedError("The request took too long."))
        except asyncio.CancelledError:
            asked.outcome = "cancelled"
            raise
        except BrokerError as error:
            asked.failed(error)
        else:
            asked.answered(token)

    async def report(self, key: TokenKey) -> None:
        """A caller gets a token, and reports that Adobe refused it."""
        asked = self._history.asked(self.process, key)
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                refused = (await self._vendor.vend(key)).token
                token = (await self._vendor.report(key, refused.sha256)).token
        except TimeoutError:
            asked.failed(OverloadedError("The request took too long."))
        except BrokerError as error:
            asked.failed(error)
        else:
            asked.answered(token)

    async def purge(self, ref: CredentialRef) -> None:
        """An operator purges."""
        purged = self._history.purging(ref)
        await self._purges.purge(ref)
        purged.answered(self.process)

    def tokens(self) -> tuple[AccessToken, ...]:
        """The tokens in its memory."""
        return tuple(token for ref in self.memory.refs() for token in self.memory.tokens_of(ref))

    async def crash(self) -> None:
        """Die as by SIGKILL: from now on nothing that it does has an effect."""
        self.process.is_alive = False
        tasks = {*self._tasks, *self._vendor._calls._running._running.values()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def draw_skew(draw: random.Random) -> float:
    """How far a replica's wall clock is ahead, in seconds: any two differ by 60 s at most (docs/contract.md)."""
    return draw.choice((0.0, 0.0, draw.uniform(-29.0, 29.0)))
