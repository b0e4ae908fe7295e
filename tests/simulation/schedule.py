"""A schedule: what callers, operators and faults do to three replicas, drawn from one seed.

Each run ends with every system working again, and with last requests: of one token at each replica, and of each token
that a replica has in memory.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from app.domain.names import CredentialRef, TokenKey
from tests.factories import OTHER_REF, REF, make_key
from tests.simulation.history import History
from tests.simulation.simulated_network import Process
from tests.simulation.simulated_replica import ReplicaPace, SimulatedReplica, draw_skew
from tests.simulation.simulated_world import EPOCH_OF_TIME, ImsBehaviour, SimulatedWorld
from tests.simulation.virtual_loop import run_virtually
from tests.support.invariants import LONGEST_REQUEST, InvariantError

REPLICAS = 3
KEYS = (make_key(REF.org), make_key(REF.org, scopes="openid"), make_key(OTHER_REF.org))
SETTLE_SECONDS = ReplicaPace().purge_compare + 2 * ReplicaPace().purge_retry
"""Longer than a lease, and long enough for a replica that missed a purge: a comparison, after a pause, with retries."""

_LOST_WRITES = 2.0
_REPORTS_COUNT_AGAIN = 60.0
"""Seconds; reports of one credential cost one exchange in that time (docs/contract.md)."""

_Action = Callable[[], Awaitable[None]]


@dataclass
class Faults:
    """Which faults a schedule may have.

    Args:
        redis: Outages, lost messages, failovers and flushes of Redis.
        upstream: Outages, throttling and refusals of IMS, and outages of the credential store.
        crashes: Replicas die and start again.
        clocks: The replicas' clocks differ.
        lifetime: Seconds for which tokens are valid.

    """

    redis: bool
    upstream: bool
    crashes: bool
    clocks: bool
    lifetime: float

    @classmethod
    def drawn(cls, draw: random.Random) -> Faults:
        """Some of them."""
        is_short = draw.random() < 0.07
        redis = draw.random() < 0.5
        return cls(
            redis=redis,
            # A token reaches its end only if no keeper can renew it.
            upstream=draw.random() < (0.5 if is_short else 0.25),
            crashes=draw.random() < 0.4,
            # Not both: a purge that Redis loses is ordered by the replicas' clocks (app/service/purges.py).
            clocks=not (is_short or redis) and draw.random() < 0.5,
            lifetime=draw.uniform(30.0, 90.0) if is_short else 86_400.0,
        )


class Schedule:
    """One run.

    Args:
        seed: Decides everything.

    """

    def __init__(self, seed: int) -> None:
        draw = random.Random(seed)  # a simulation, no secrets
        self.faults = Faults.drawn(draw)
        history = _LOST_WRITES if self.faults.redis else 0.0
        self.world = SimulatedWorld(seed, (REF, OTHER_REF), history)
        self.world.ims = self._ims_works()
        self.history = History(self.world, ims_works=not self.faults.upstream, redis_works=not self.faults.redis)
        self._draw = draw
        self._callers: set[asyncio.Task[None]] = set()
        self._begun = 0
        self._counts = {"crash": 0, "lost writes": 0}
        self._reports = Counter[CredentialRef]()
        self.replicas = [self._started(number) for number in range(REPLICAS)]

    async def run(self) -> None:
        """Run it.

        Raises:
            InvariantError: An invariant was violated.

        """
        # Two long pauses are the life of a short-lived token, so that many actions come at its end.
        pause = self.faults.lifetime / 2 if self.faults.lifetime < 1000 else self._draw.uniform(0.1, 0.8)
        actions = self._actions()
        for _ in range(self._draw.randint(4, 12)):
            await asyncio.sleep(self._draw.choice((0.0, self._draw.expovariate(10.0), pause)))
            await self._draw.choice(actions)()
        self._heal()
        await asyncio.sleep(SETTLE_SECONDS)
        self._raise_failures()
        self.history.settled_at = self.world.now()
        self._last_requests()
        if waiting := [task for task in self._callers if not task.done()]:
            await asyncio.wait(waiting, timeout=LONGEST_REQUEST + 0.5)
        self._raise_failures()
        self.history.check_end({ref: self._most_exchanges(ref) for ref in (REF, OTHER_REF)})

    def _last_requests(self) -> None:
        """Ask where a broken promise shows: for one token at each replica, and for all that memory still answers.

        To ask for each token at each replica took a quarter more time, and found no planted bug clearly sooner.
        """
        drawn = self._draw.choice(KEYS)
        for key in KEYS:
            for number, replica in enumerate(self.replicas):
                if key is drawn or replica.memory.get(key) is not None:
                    self._request(number, key)

    def _started(self, number: int) -> SimulatedReplica:
        self._begun += 1
        skew = draw_skew(self._draw) if self.faults.clocks else 0.0
        # No keeper finds a token due before half of its life: to look more often finds nothing.
        pace = ReplicaPace(keeper_pause=min(10.0, self.faults.lifetime / 20))
        return SimulatedReplica(self.world, Process(f"{number}.{self._begun}", skew=skew), self.history, pace)

    def _actions(self) -> list[_Action]:
        actions: list[_Action] = [self._burst, self._burst, self._burst, self._purge, self._report, self._impatient]
        if self.faults.crashes:
            actions += [self._crash]
        if self.faults.redis:
            actions += [self._lose_redis, self._lose_messages, self._fail_over, self._redis_returns]
        if self.faults.upstream:
            actions += [self._upstream_fails, self._upstream_returns]
        return actions

    def _any_replica(self) -> SimulatedReplica:
        return self._draw.choice(self.replicas)

    def _ask(self, work: Awaitable[None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        assert isinstance(task, asyncio.Task)
        self._callers.add(task)
        return task

    def _request(self, number: int, key: TokenKey) -> None:
        self._ask(self.replicas[number].request(key))

    async def _burst(self) -> None:
        """Several callers at once, at any replicas."""
        key = self._draw.choice(KEYS)
        for _ in range(self._draw.randint(1, 6)):
            self._request(self._draw.randrange(REPLICAS), key)

    async def _impatient(self) -> None:
        """A caller that goes away before its answer."""
        task = self._ask(self._any_replica().request(self._draw.choice(KEYS)))
        asyncio.get_running_loop().call_later(self._draw.uniform(0.0, 0.25), task.cancel)

    async def _purge(self) -> None:
        self._ask(self._any_replica().purge(self._draw.choice((REF, OTHER_REF))))

    async def _report(self) -> None:
        """Several callers at once report the same token."""
        key = self._draw.choice(KEYS)
        self._reports[key.ref] += 1
        for _ in range(self._draw.randint(1, 4)):
            self._ask(self._any_replica().report(key))

    async def _crash(self) -> None:
        """A replica dies in the middle of its work, and another takes its place."""
        self._counts["crash"] += 1
        number = self._draw.randrange(REPLICAS)
        key = self._draw.choice(KEYS)
        self._request(number, key)
        await asyncio.sleep(self._draw.uniform(0.0, 0.3))
        await self.replicas[number].crash()
        self.replicas[number] = self._started(number)

    async def _lose_redis(self) -> None:
        self.world.redis_link.is_down, self.world.redis_link.hangs = True, self._draw.random() < 0.5

    async def _lose_messages(self) -> None:
        self.world.redis_link.loss = self._draw.uniform(0.05, 0.5)

    async def _fail_over(self) -> None:
        """Redis fails over to a replica that lacks the last writes, or comes back empty."""
        self._counts["lost writes"] += 1
        if self._draw.random() < 0.3:
            self.world.redis.flush()
        else:
            self.world.redis.fail_over(self._draw.uniform(0.0, _LOST_WRITES))

    async def _redis_returns(self) -> None:
        self.world.redis_link.is_down, self.world.redis_link.loss = False, 0.0

    async def _upstream_fails(self) -> None:
        link = self._draw.choice((self.world.ims_link, self.world.vault_link))
        kind = self._draw.randrange(5)
        if kind < 2:
            link.is_down, link.hangs = True, kind == 1
        elif kind == 2:
            self.world.ims.throttles = self._draw.uniform(1.0, 5.0)
        elif kind == 3:
            self.world.ims.refuses = frozenset({REF})
        else:
            self.world.ims.fails = True

    async def _upstream_returns(self) -> None:
        for link in (self.world.ims_link, self.world.vault_link):
            link.is_down = False
        self.world.ims = self._ims_works()

    def _heal(self) -> None:
        for link in (self.world.redis_link, self.world.ims_link, self.world.vault_link):
            link.is_down, link.hangs, link.loss = False, False, 0.0
        self.world.ims = self._ims_works()

    def _ims_works(self) -> ImsBehaviour:
        """It answers sooner than the real one, because replicas that wait look into Redis again and again."""
        return ImsBehaviour(lifetime=self.faults.lifetime, answers=(0.02, 0.2))

    def _raise_failures(self) -> None:
        for task in self._callers:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error

    def _most_exchanges(self, ref: CredentialRef) -> int:
        """The most exchanges that a credential may cost. A crash may lose one, and so may a purge or a report."""
        keys, seconds = sum(key.ref == ref for key in KEYS), self.world.now() - EPOCH_OF_TIME
        if self.faults.upstream:
            # Each request may cost one that fails, and so may each attempt of a keeper, with growing pauses.
            return len(self.history.requests) + 12 * REPLICAS * keys
        lives = 1 + int(seconds / (0.4 * self.faults.lifetime))
        losses = 2 * sum(purge.ref == ref for purge in self.history.purges)
        losses += self._counts["crash"] + self._counts["lost writes"]
        reports = min(self._reports[ref], 1 + int(seconds / _REPORTS_COUNT_AGAIN))
        return (keys * (lives + losses) + reports) * (REPLICAS if self.faults.redis else 1)


def run_schedule(seed: int) -> None:
    """Run the schedule of one seed.

    Raises:
        InvariantError: An invariant was violated; it names the seed.

    """
    state = random.getstate()
    random.seed(seed)

    async def main() -> None:
        await Schedule(seed).run()

    try:
        run_virtually(main())
    except AssertionError as error:
        raise InvariantError(f"seed {seed}: {error}") from error
    finally:
        random.setstate(state)
