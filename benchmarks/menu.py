"""The benchmarks that ``make bench`` runs, in order."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks import (
    arrival,
    batch,
    cold_mint,
    fleet,
    large_policy,
    memory,
    mixed_load,
    other_servers,
    peers_compared,
    redis_commands,
    redis_hit,
    start_time,
    warm_path,
    workers,
)
from benchmarks.load import Effort
from benchmarks.report import Row


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    Args:
        measure: Measures the rows. It runs in a process of its own.
        needs: Programs on PATH that it starts.

    """

    measure: Callable[[Effort], list[Row]]
    needs: Sequence[str] = ()

    def missing(self) -> list[str]:
        """The programs that are not installed."""
        return [program for program in self.needs if shutil.which(program) is None]


BENCHMARKS: Mapping[str, Benchmark] = {
    "warm_path": Benchmark(warm_path.measure, ("wrk", "nginx")),
    "peers": Benchmark(peers_compared.measure, ("wrk", "redis-server")),
    "other_servers": Benchmark(other_servers.measure, ("wrk",)),
    "memory": Benchmark(memory.measure, ("wrk", "redis-server")),
    "workers": Benchmark(workers.measure, ("wrk", "redis-server")),
    "mixed_load": Benchmark(mixed_load.measure, ("wrk",)),
    "arrival": Benchmark(arrival.measure, ("wrk",)),
    "batch": Benchmark(batch.measure, ("wrk",)),
    "redis_hit": Benchmark(redis_hit.measure, ("redis-server",)),
    "redis_commands": Benchmark(redis_commands.measure, ("wrk", "redis-server")),
    "cold_mint": Benchmark(cold_mint.measure, ("redis-server",)),
    "large_policy": Benchmark(large_policy.measure),
    "start_time": Benchmark(start_time.measure, ("redis-server",)),
    "fleet": Benchmark(fleet.measure),
}
