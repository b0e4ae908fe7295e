"""Plants bugs into real brokers, one after the other, and checks that a soak finds each: ``make faults-bugs``."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.faults.soak.history_check import HistoryCheck
from tests.faults.soak.planted_bugs import BUGS
from tests.faults.soak.soak_run import soaked

SEED, RATE = 3, 40.0


def is_found(name: str, seed: int) -> bool:
    """Run a soak over brokers with this bug, and print what it found; whether it is what the bug violates."""
    bug = BUGS[name]
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        history = asyncio.run(soaked(Path(folder), seed, bug.seconds, RATE, lambda _line: None, name))
    of_it = [found for found in HistoryCheck(history).violations() if found.invariant is bug.violates]
    first = f"{len(of_it)} violations of {bug.violates.name}; {of_it[0]}" if of_it else "NOT FOUND"
    print(f"{name} ({bug.text}), {bug.seconds:.0f} s: {first}", flush=True)
    return bool(of_it)


def main() -> None:
    """Try the bugs; exit with 1 if one is not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak.bugs", description=__doc__)
    parser.add_argument("bugs", nargs="*", metavar="BUG", help=f"all by default: {', '.join(BUGS)}")
    parser.add_argument("--seed", type=int, default=SEED, help="of the faults")
    options = parser.parse_args()
    if unknown := set(options.bugs) - set(BUGS):
        parser.error(f"no such bug: {', '.join(sorted(unknown))}")
    names = options.bugs or list(BUGS)
    missed = [name for name in names if not is_found(name, options.seed)]
    if missed:
        sys.exit(f"Not found: {', '.join(missed)}")
    print(f"{len(names)} bugs, each found.")


if __name__ == "__main__":
    main()
