"""Exchanges of a simulated fleet against the fewest possible: the real service code on the clock of the simulation.

    python -m benchmarks.fleet [--orgs 120] [--replicas 50] [--days 30]

Two runs. In the first one many replicas serve some orgs for a month: callers ask by Zipf's law, each any replica; all
replicas restart each week, one after the other; Redis fails for a minute each week, and once comes back empty. The
fewest exchanges are those of a single, perfect cache that is asked the same and refreshes at exactly half of a token's
life, as long as the token was used within ``BROKER_KEEP_WARM``. The fleet may need fewer: a replica that restarts
forgets what was used, and a token that no replica holds is refreshed when it is asked for again. In the second run many
orgs are minted at once, and the refreshes that follow are counted by the hour.

The scale: 100,000 orgs on 50 replicas for 30 days are 6 million exchanges and 300 million reads, days of simulation;
`--orgs 100000` runs them. The ratio does not depend on the number of orgs: orgs share no lease, no token and, while IMS
does not throttle, no budget, so the fleet's exchanges are a sum over orgs. It depends on the replicas that race for one
token, and these are all there. What the scale leaves out is the bound of exchanges at once (`BROKER_MAX_EXCHANGES`),
which delays a mint but adds none. With fewer orgs the hourly counts scatter more, so a peak is overestimated.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

from benchmarks.load import Effort
from benchmarks.plot import Panel, write_plot
from benchmarks.report import Row, at_most, table
from tests.simulation.simulated_fleet import DAY, HOUR, Outage, SimulatedFleet
from tests.simulation.simulated_replica import KEEP_WARM, ReplicaPace
from tests.simulation.virtual_loop import run_virtually

PLOT = Path(__file__).resolve().parents[1] / "docs" / "fleet.svg"

ORGS, REPLICAS, DAYS = 120, 50, 30
MASS_ORGS, MASS_DAYS = 2000, 7
ASKED_A_DAY = 20.0
"""Requests for an average org, at the whole fleet; for the last one by Zipf's law about 4."""

MOST_PEAK = 3

_TICK = 600.0
_AT_ONCE = 100
"""Requests at once: a replica refuses what would wait too long for one of its exchanges."""

_PACE = ReplicaPace(purge_retry=600.0, purge_compare=6 * HOUR, keeper_pause=60.0, listen=HOUR)
_MASS_PACE = replace(_PACE, keeper_pause=5.0)
"""The keeper starts a few refreshes at each look, so it must look often if all tokens are due at once."""


@dataclass(frozen=True)
class Shard:
    """Some orgs of a fleet, simulated in one process.

    Args:
        seed: Seed of its random numbers.
        orgs: The number of orgs.
        replicas: The number of replicas.
        days: How long.
        asked_a_day: Requests for an average org.
        pace: How often a replica looks at what is due.
        is_disturbed: Whether replicas restart and Redis fails.

    """

    seed: int
    orgs: int
    replicas: int
    days: int
    asked_a_day: float
    pace: ReplicaPace
    is_disturbed: bool


@dataclass
class Lived:
    """What a shard saw: exchanges by hour, the fewest possible by hour, requests, failures, calls to Redis."""

    exchanges: Counter[int]
    fewest: Counter[int]
    requests: int = 0
    failed: int = 0
    redis_calls: int = 0

    @property
    def ratio(self) -> float:
        """Exchanges for each that is needed."""
        return self.exchanges.total() / self.fewest.total()

    def __iadd__(self, other: Lived) -> Lived:
        self.exchanges.update(other.exchanges)
        self.fewest.update(other.fewest)
        self.requests += other.requests
        self.failed += other.failed
        self.redis_calls += other.redis_calls
        return self


def live(shard: Shard) -> Lived:
    """Simulate one shard."""

    async def main() -> Lived:
        fleet = SimulatedFleet(shard.seed, shard.orgs, shard.replicas, shard.pace)
        if shard.is_disturbed:
            _disturb(fleet, shard.days)
        return await _live(fleet, shard)

    return run_virtually(main())


async def _live(fleet: SimulatedFleet, shard: Shard) -> Lived:
    draw, lived = fleet.world.draw, Lived(Counter(), Counter())
    cumulated = list(accumulate(1 / rank for rank in range(1, shard.orgs + 1)))
    asked: dict[int, list[float]] = defaultdict(list)
    wanted, each_tick = 0.0, shard.orgs * shard.asked_a_day * _TICK / DAY
    numbers: Sequence[int] = range(shard.orgs)
    while fleet.seconds < shard.days * DAY:
        tick = fleet.seconds + _TICK
        for first in range(0, len(numbers), _AT_ONCE):
            async with asyncio.TaskGroup() as group:
                for number in numbers[first : first + _AT_ONCE]:
                    asked[number].append(fleet.seconds)
                    replica, key = draw.choice(fleet.replicas), fleet.keys[number]
                    if not fleet.is_answered_from_memory(replica, key):
                        group.create_task(fleet.ask(replica, key))
        await asyncio.sleep(max(0.0, tick - fleet.seconds))
        lived.exchanges.update(int((exchange.began_at - fleet.began_at) // HOUR) for exchange in fleet.take_exchanges())
        wanted += each_tick
        numbers = draw.choices(range(shard.orgs), cum_weights=cumulated, k=int(wanted))
        wanted -= len(numbers)
    for times in asked.values():
        lived.fewest.update(int(at // HOUR) for at in fewest(times, fleet.world.ims.lifetime, shard.days * DAY))
    lived.requests, lived.failed, lived.redis_calls = fleet.requests, fleet.failed, fleet.world.redis.token_calls
    return lived


def fewest(asked: Sequence[float], lifetime: float, end: float) -> list[float]:
    """When a single, perfect cache exchanges: at half of the life if the token was used lately, and when it must.

    Args:
        asked: When the token was asked for, in order, in seconds.
        lifetime: Of a token, in seconds.
        end: When the simulation ends, in seconds.

    """
    exchanged: list[float] = []
    used = -KEEP_WARM
    for at in (*asked, end):
        while exchanged and (due := exchanged[-1] + lifetime / 2) <= at and due - used <= KEEP_WARM:
            exchanged.append(due)
        if at < end and (not exchanged or at >= exchanged[-1] + lifetime / 2):
            exchanged.append(at)
        used = at
    return exchanged


def _disturb(fleet: SimulatedFleet, days: int) -> None:
    """Restart all replicas each week, one after the other, and let Redis fail."""
    for week in range(days // 7 + 1):
        fleet.plan([Outage("redis", 7 * week + 5.3, hours=1 / 60)])
        for number in range(len(fleet.replicas)):
            fleet.restart_at(7 * week + 3.0 + number * 0.001, number)
    fleet.plan([Outage("redis is emptied", 20.0)])


def simulate(whole: Shard) -> Lived:
    """Simulate a fleet, its orgs spread over the cores."""
    cores = len(os.sched_getaffinity(0))
    shards = [replace(whole, seed=seed, orgs=len(range(seed, whole.orgs, cores))) for seed in range(cores)]
    total = Lived(Counter(), Counter())
    with ProcessPoolExecutor(cores, multiprocessing.get_context("spawn")) as pool:
        for lived in pool.map(live, [shard for shard in shards if shard.orgs]):
            total += lived
    return total


def measure(_effort: Effort) -> list[Row]:
    """The rows of the fleet, and its plot."""
    return rows(ORGS, REPLICAS, DAYS)


def rows(orgs: int, replicas: int, days: int) -> list[Row]:
    """Simulate both runs, and plot them."""
    month = simulate(Shard(0, orgs, replicas, days, ASKED_A_DAY, _PACE, is_disturbed=True))
    mass = simulate(Shard(0, MASS_ORGS, 1, MASS_DAYS, 4.0, _MASS_PACE, is_disturbed=False))
    hourly = [mass.exchanges[hour] for hour in range(1, MASS_DAYS * 24)]
    mean = statistics.mean(hourly)
    above = max(hour for hour, count in enumerate(hourly, 1) if count >= MOST_PEAK * mean)
    _plot(month, days, hourly, mean)
    scale = f"{replicas} replicas, {orgs:,} orgs, {days} days"
    exchanges = month.exchanges.total()
    seen = (
        f"{exchanges:,} against {month.fewest.total():,}; {scale}, {month.requests:,} requests, "
        f"{month.redis_calls / exchanges:.0f} calls to Redis for each exchange"
    )
    wave = (
        "Tokens minted together are all refreshed between 0.45 and 0.55 of their life. A refresh after 0.55 would "
        "break the promise of 10 hours without IMS, and one before 0.45 would cost exchanges; so the first waves have "
        "five times the mean."
    )
    peak = f"{max(hourly):,} against {mean:,.0f} an hour; {MASS_ORGS:,} orgs; lower after {above / 24:.1f} days"
    failed = month.failed + mass.failed
    return [
        Row("exchanges of a simulated fleet", "fewest at half of the life", at_most(1.02), month.ratio, seen),
        Row("failed requests of the simulated fleet", "", at_most(0, "requests"), failed, scale),
        Row(
            "peak hour of refreshes after a mass mint",
            "mean hour",
            at_most(MOST_PEAK),
            max(hourly) / mean,
            peak,
            wave,
        ),
    ]


def _plot(month: Lived, days: int, hourly: Sequence[int], mean: float) -> None:
    halves = range(1, days * 2)
    per_half = [sum(month.exchanges[12 * half + hour] for hour in range(12)) for half in halves]
    fewest_half = [sum(month.fewest[12 * half + hour] for hour in range(12)) for half in halves]
    write_plot(
        PLOT,
        [
            Panel(
                "Refreshes after a mass mint, each hour, as a multiple of the mean",
                [(hour / 24, count / mean) for hour, count in enumerate(hourly, 1)],
                "days",
                [(0.0, 1.0), (float(MASS_DAYS), 1.0)],
            ),
            Panel(
                "Exchanges of the fleet in 12 hours; thin: the fewest possible",
                [(half / 2, float(count)) for half, count in zip(halves, per_half, strict=True)],
                "days",
                [(half / 2, float(count)) for half, count in zip(halves, fewest_half, strict=True)],
            ),
        ],
    )


def main() -> None:
    """Simulate at any scale, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__.partition("\n")[0])
    parser.add_argument("--orgs", type=int, default=ORGS, help="default: %(default)s")
    parser.add_argument("--replicas", type=int, default=REPLICAS, help="default: %(default)s")
    parser.add_argument("--days", type=int, default=DAYS, help="simulated time; default: %(default)s")
    options = parser.parse_args()
    print(table(rows(options.orgs, options.replicas, options.days)))


if __name__ == "__main__":
    main()
