"""Latencies of warm requests that arrive at a constant rate: at half of the capacity, and while others are minted."""

from __future__ import annotations

import http.client
import multiprocessing
import os
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

from benchmarks.load import Asked, Effort, sample
from benchmarks.open_loop import Latencies, run_at
from benchmarks.report import Row, at_most
from benchmarks.scene import Scene, org, scene
from benchmarks.servers import LOAD_CORE, Served, on_core

SECONDS = 6.0
"""Of one run of constant arrival."""

COLD = 1000
_COLD_AT_ONCE = 8
_LONGEST = 60.0
_COLD_RATE = 2000.0
"""Warm requests per second next to the cold ones: the load must leave room on its core for the sandbox."""

_CONNECTIONS = 32
_BUSY = (
    "By the clock: other processes on the same cores stall the server or the load for as long as the kernel lets them."
)


def measure(effort: Effort) -> list[Row]:
    """The rows of constant arrival."""
    with scene(COLD + 1) as stage:
        broker = stage.start_broker()
        stage.get(broker, f"/token?org={org(0)}")
        capacity = sample(Asked(broker.url(f"/token?org={org(0)}"), [broker.pid], [stage.bearer]), effort).rate
        half = [_warm(stage, broker, capacity / 2) for _ in range(3)]
        quiet, mixed = _quiet_and_with_cold(stage, broker)
    seen = f"at {half[0].rate:,.0f}/s, half of {capacity:,.0f}/s; median of {len(half)} runs of {SECONDS:.0f} s"
    rows = [
        Row(f"p{100 * share:g} at constant arrival", "", at_most(bound, "ms"), _median(half, share), seen, _BUSY)
        for share, bound in ((0.999, 5), (0.9999, 25))
    ]
    shown = f"{mixed.percentile(0.99):.2f} against {quiet.percentile(0.99):.2f} ms at {_COLD_RATE:,.0f}/s"
    reason = "One mint takes some milliseconds of the loop's time, in which warm requests wait."
    ratio = mixed.percentile(0.99) / quiet.percentile(0.99)
    what = f"p99 of warm requests while {COLD:,} cold orgs are minted"
    return [*rows, Row(what, "the same, quiet", at_most(3), ratio, shown, reason)]


def _warm(
    stage: Scene, broker: Served, rate: float, seconds: float = SECONDS, is_over: Callable[[], bool] = lambda: False
) -> Latencies:
    request = f"GET /token?org={org(0)} HTTP/1.1\r\nHost: 127.0.0.1\r\n{stage.bearer}\r\n\r\n".encode()
    return run_at(broker.port, request, rate, seconds, _CONNECTIONS, is_over)


def _median(runs: list[Latencies], share: float) -> float:
    return statistics.median(run.percentile(share) for run in runs)


def _quiet_and_with_cold(stage: Scene, broker: Served) -> tuple[Latencies, Latencies]:
    """Warm requests alone, and for as long as the minting of all cold orgs takes."""
    quiet = _warm(stage, broker, _COLD_RATE)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pool.submit(os.getpid).result()  # it has started and imported
        minting = pool.submit(_mint, broker.port, stage.bearer)
        mixed = _warm(stage, broker, _COLD_RATE, _LONGEST, minting.done)
        minting.result()
    return quiet, mixed


def _mint(port: int, bearer: str) -> None:
    """Ask for the token of each cold org once."""
    name, _, value = bearer.partition(": ")

    def ask(numbers: range) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        for number in numbers:
            connection.request("GET", f"/token?org={org(number)}", headers={name: value})
            answer = connection.getresponse()
            answer.read()
            if answer.status != http.client.OK:
                raise SystemExit(f"A cold org was answered {answer.status}.")
        connection.close()

    with on_core(LOAD_CORE), ThreadPoolExecutor(_COLD_AT_ONCE) as pool:
        list(pool.map(ask, [range(1 + first, COLD + 1, _COLD_AT_ONCE) for first in range(_COLD_AT_ONCE)]))
