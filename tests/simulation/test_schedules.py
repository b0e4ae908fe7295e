"""Seeded schedules of three simulated replicas keep the invariants. `make schedules` runs many more."""

from __future__ import annotations

import asyncio

import pytest

from tests.factories import KEY, REF
from tests.simulation.history import History
from tests.simulation.schedule import Schedule, run_schedule
from tests.simulation.simulated_network import Process
from tests.simulation.simulated_replica import SimulatedReplica
from tests.simulation.simulated_world import SimulatedWorld
from tests.simulation.virtual_loop import run_virtually

SEEDS = 400
AT_ONCE = 50


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_no_schedule_violates_an_invariant(first: int) -> None:
    """Whatever fails, and in whatever order: right token, never expired, never purged, bounded exchanges, in time."""
    for seed in range(first, first + AT_ONCE):
        run_schedule(seed)


def test_a_replica_that_waits_for_another_pauses_between_its_reads() -> None:
    """An exchange of several seconds costs each replica that waits some ten commands a second, not a thousand."""

    async def main() -> int:
        world = SimulatedWorld(1, (REF,))
        world.ims.answers = (5.0, 5.0)
        history = History(world, ims_works=True, redis_works=True)
        replicas = [SimulatedReplica(world, Process(str(number)), history) for number in range(2)]
        await asyncio.gather(*(replica.request(KEY) for replica in replicas))
        assert len(world.exchanges) == 1
        return world.redis.token_calls

    assert 50 < run_virtually(main()) < 100


def test_a_seed_replays() -> None:
    """The same seed gives the same exchanges at the same times."""

    def exchanges() -> list[tuple[float, str | None]]:
        async def main() -> list[tuple[float, str | None]]:
            schedule = Schedule(11)
            await schedule.run()
            return [(exchange.began_at, exchange.value) for exchange in schedule.world.exchanges]

        return run_virtually(main())

    first = exchanges()
    assert len(first) > 1
    assert exchanges() == first
