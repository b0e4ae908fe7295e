"""How what the replicas and Redis use changes over a run: slopes by least squares, and whether they are flat."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from typing_extensions import override

from tests.faults.soak.records import Measured

WARM_UP_SECONDS = 60.0
"""After the start of a process: its memory is filled with what it needs."""

SHORTEST_SECONDS = 180.0
"""A process that lived for less after its warm-up is not judged."""

MEBIBYTE = 2**20

ALLOWED = {
    "rss": 12.0 * MEBIBYTE,
    "descriptors": 20.0,
    "tasks": 20.0,
    "threads": 4.0,
    "redis_keys": 30.0,
    "redis_memory": 3.0 * MEBIBYTE,
}
"""How much the line may rise over a run of 20 minutes; over a shorter one, over that one."""

ALLOWED_OVER_SECONDS = 1200.0


@dataclass(frozen=True)
class Slope:
    """The line through the measurements of one amount.

    Args:
        replica: The number of the replica.
        start: How often it had been started.
        name: The amount.
        seconds: From the first measurement to the last one.
        count: The number of measurements.
        mean: Their mean.
        per_hour: How much the line rises in an hour.

    """

    replica: int
    start: int
    name: str
    seconds: float
    count: int
    mean: float
    per_hour: float

    @property
    def is_judged(self) -> bool:
        """Whether it is long enough."""
        return self.seconds >= SHORTEST_SECONDS

    @property
    def is_flat(self) -> bool:
        """Whether the rise is within the bound."""
        rise = self.per_hour / 3600 * self.seconds
        return rise <= ALLOWED[self.name] * max(1.0, self.seconds / ALLOWED_OVER_SECONDS)

    @override
    def __str__(self) -> str:
        unit = MEBIBYTE if ALLOWED[self.name] >= MEBIBYTE else 1.0
        verdict = "too short to judge" if not self.is_judged else "flat" if self.is_flat else "GROWS"
        return (
            f"replica {self.replica}.{self.start} {self.name:<12} {self.per_hour / unit:>+9.2f}/h"
            f"  mean {self.mean / unit:>8.1f}  {self.count:>4} values in {self.seconds:>5.0f} s  {verdict}"
        )


def slopes(measured: Iterable[Measured]) -> Iterator[Slope]:
    """The slopes of all amounts of all processes, after their warm-up."""
    by_process: dict[tuple[int, int], list[Measured]] = defaultdict(list)
    for one in measured:
        by_process[one.replica, one.start].append(one)
    for (replica, start), found in sorted(by_process.items()):
        began = found[0].at + WARM_UP_SECONDS
        for name in ALLOWED:
            points = [(one.at, one.values[name]) for one in found if one.at >= began and name in one.values]
            if len(points) > 1:
                yield _slope(replica, start, name, points)


def growing(measured: Iterable[Measured]) -> Iterator[str]:
    """Each amount that grows."""
    return (str(slope) for slope in slopes(measured) if slope.is_judged and not slope.is_flat)


def _slope(replica: int, start: int, name: str, points: Sequence[tuple[float, float]]) -> Slope:
    times, values = zip(*points, strict=True)
    mean_time, mean = sum(times) / len(times), sum(values) / len(values)
    spread = sum((time - mean_time) ** 2 for time in times)
    rise = sum((time - mean_time) * (value - mean) for time, value in points) / spread if spread else 0.0
    return Slope(replica, start, name, times[-1] - times[0], len(points), mean, rise * 3600)
