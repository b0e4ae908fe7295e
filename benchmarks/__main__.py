"""Run benchmarks, print a table of targets, and write the results: ``python -m benchmarks [NAME…]``, or ``make bench``.

Without names all are run, in less than 15 minutes. Benchmarks that were not selected keep their last results.
"""

from __future__ import annotations

import argparse
import datetime
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from benchmarks.load import Effort
from benchmarks.menu import BENCHMARKS, Benchmark
from benchmarks.report import Row, Section, Taken, commit, machine, read_results, table, write_results


def _run(benchmark: Benchmark, effort: Effort) -> Section:
    """Run one in a process of its own, so that it leaves nothing behind for the next.

    Raises:
        SystemExit: It failed.

    """
    busy, began = os.getloadavg()[0], time.monotonic()
    at = datetime.datetime.fromtimestamp(time.time(), datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        rows: list[Row] = pool.submit(benchmark.measure, effort).result()
    return Section(Taken(at, commit(), machine(), busy, time.monotonic() - began), rows)


def main() -> None:
    """Run what was selected; exit with 1 if a benchmark failed, not if a target is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Run benchmarks, compare them with their targets, and write the results.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument(
        "--seconds", type=int, default=Effort.seconds, help="of each run under load; default: %(default)s"
    )
    parser.add_argument("--rounds", type=int, default=Effort.rounds, help="runs of each server; default: %(default)s")
    parser.add_argument(
        "--connections", type=int, default=Effort.connections, help="concurrent connections; default: %(default)s"
    )
    parser.add_argument("--no-write", action="store_true", help="leave the committed results as they are")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in BENCHMARKS]:
        parser.error(f"unknown: {', '.join(unknown)}; choose from {', '.join(BENCHMARKS)}")
    effort = Effort(options.seconds, options.rounds, options.connections)
    print(machine())
    results, failed = dict(read_results()), []
    for name in options.names or BENCHMARKS:
        if missing := BENCHMARKS[name].missing():
            failed.append(f"{name}: needs {', '.join(missing)}")
            continue
        try:
            results[name] = _run(BENCHMARKS[name], effort)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # the others still run
            failed.append(f"{name}: {error}")
            continue
        print(f"\n{name}, {results[name].taken.seconds:.0f} s\n{table(results[name].rows)}", flush=True)
        if not options.no_write:
            write_results({name: results[name] for name in BENCHMARKS if name in results})
    if failed:
        sys.exit("\n".join(("", "Not measured:", *failed)))


if __name__ == "__main__":
    main()
