"""The fleet of `benchmarks/fleet.py`, at a small scale."""

from __future__ import annotations

import pytest

from benchmarks.fleet import Shard, fewest, live
from tests.simulation.simulated_fleet import DAY, HOUR
from tests.simulation.simulated_replica import KEEP_WARM, ReplicaPace

PACE = ReplicaPace(purge_retry=600.0, purge_compare=6 * HOUR, keeper_pause=60.0, listen=HOUR)


def test_many_replicas_exchange_as_one_perfect_cache_would() -> None:
    """Ten replicas that restart, over a Redis that fails, need at most 2 % more exchanges than the fewest possible."""
    lived = live(Shard(seed=1, orgs=6, replicas=10, days=14, asked_a_day=20.0, pace=PACE, is_disturbed=True))

    assert lived.failed == 0
    assert lived.requests > 1000
    assert 0.9 < lived.ratio <= 1.02


@pytest.mark.parametrize(
    ("asked", "end", "exchanged"),
    [
        ([], DAY, []),
        ([0.0], 0.6 * DAY, [0.0, 0.5 * DAY]),
        # Used at the beginning only: kept for as long as tokens are kept, and no longer.
        ([0.0], 10 * DAY, [half * 0.5 * DAY for half in range(int(KEEP_WARM / DAY * 2) + 1)]),
        # Asked for again when it had ended, and when it was past half of its life.
        ([0.0, 9 * DAY], 9.1 * DAY, [*(half * 0.5 * DAY for half in range(7)), 9 * DAY]),
    ],
)
def test_the_fewest_exchanges_follow_use(asked: list[float], end: float, exchanged: list[float]) -> None:
    """A perfect cache exchanges when it must, and at half of the life while the token is in use."""
    assert fewest(asked, DAY, end) == exchanged
