"""Seeded schedules of three simulated replicas keep the invariants. `make schedules` runs many more."""

from __future__ import annotations

import pytest

from tests.simulation.schedule import Schedule, run_schedule
from tests.simulation.virtual_loop import DeadlockError, run_virtually

SEEDS = 400
AT_ONCE = 50


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_no_schedule_violates_an_invariant(first: int) -> None:
    """Whatever fails, and in whatever order: right token, never expired, never purged, bounded exchanges, in time."""
    for seed in range(first, first + AT_ONCE):
        run_schedule(seed)


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


def test_a_task_that_nothing_wakes_is_an_error() -> None:
    """A lost wake-up ends the run with an error, instead of hanging it."""

    async def main() -> None:
        import asyncio

        await asyncio.Event().wait()

    with pytest.raises(DeadlockError):
        run_virtually(main())
