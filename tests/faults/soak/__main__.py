"""Runs a soak: ``python -m tests.faults.soak --seconds 1200 --seed 17``; ``--check FILE`` checks a history again."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from tests.faults.soak.history_check import HistoryCheck
from tests.faults.soak.records import Measured, RecordedHistory, loaded
from tests.faults.soak.slopes import WARM_UP_SECONDS, slopes
from tests.faults.soak.soak_run import soaked

_SHOWN = 20


def main() -> int:
    """Run it; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description="Run a soak with random faults.")
    parser.add_argument("--seconds", type=float, default=1200.0, help="how long; default: 1200")
    parser.add_argument("--seed", type=int, help="replays the faults of a run; default: random")
    parser.add_argument("--rate", type=float, default=40.0, help="requests per second; default: 40")
    parser.add_argument("--check", type=Path, metavar="FILE", help="only check the history of an earlier run")
    options = parser.parse_args()
    if options.check is not None:
        return 0 if judged(loaded(options.check)) else 1
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    command = f"make faults-soak SECONDS={options.seconds:.0f} SEED={seed}"
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    print(f"seed {seed}; to inject the same faults again: {command}", flush=True)
    good = False
    try:
        good = judged(asyncio.run(soaked(folder, seed, options.seconds, options.rate, _show)))
    finally:
        if good:
            shutil.rmtree(folder)
        else:
            print(f"The history and the logs are in {folder}; check them again: --check {folder / 'history.jsonl'}")
            print(f"To inject the same faults again: {command}", flush=True)
    return 0 if good else 1


def _show(line: str) -> None:
    print(line, flush=True)


def judged(history: RecordedHistory) -> bool:
    """Print the slopes and the violations; whether there are none."""
    found_slopes = list(slopes(history.of(Measured)))
    for slope in found_slopes:
        print(slope)
    if not found_slopes:
        print(f"no slopes: no process ran for longer than its warm-up of {WARM_UP_SECONDS:.0f} s")
    check = HistoryCheck(history)
    found = check.violations()
    print(f"{check.summary()}; {len(found)} violations")
    for violation in found[:_SHOWN]:
        print(f"  {violation}")
    return not found


if __name__ == "__main__":
    sys.exit(main())
