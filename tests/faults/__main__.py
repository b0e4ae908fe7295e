"""Runs the tests of the fault table: ``python -m tests.faults``, or some rows: ``--rows 1-15,57``.

All tests run in one pytest, each once, however many rows name it. Then there is one line per row.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from tests.faults.row import FaultRow
from tests.faults.rows import LAST_ROW, ROWS

_COLUMN = 78


@dataclass(eq=False)
class Verdicts:
    """A pytest plugin that keeps the outcome of each test."""

    outcomes: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    reasons: dict[str, str] = field(default_factory=dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a report: a test passes if each of its phases does."""
        name, _, parameters = report.nodeid.partition("[")
        known = self.outcomes[name].get(parameters, "passed")
        self.outcomes[name][parameters] = known if report.passed else report.outcome
        if report.skipped and isinstance(report.longrepr, tuple):
            self.reasons[name] = report.longrepr[2].removeprefix("Skipped: ")

    def of(self, row: FaultRow) -> tuple[str, int]:
        """What to say of a row, and how many of its tests ran."""
        if not row.shown_by:
            return f"cannot run here: {row.reason}", 0
        found = [outcome for name in row.shown_by for outcome in self.outcomes[name].values()]
        ran = [outcome for outcome in found if outcome != "skipped"]
        missing = any(not self.outcomes[name] for name in row.shown_by)
        if missing or "failed" in ran:
            return "FAIL", len(ran)
        if not ran:
            return f"cannot run here: {self.reasons[row.shown_by[0]]}", 0
        return "pass", len(ran)


def selected(text: str) -> list[FaultRow]:
    """The rows of a selection such as ``1-15,57``.

    Raises:
        ValueError: It is malformed, or names a row that does not exist.

    """
    numbers: set[int] = set()
    for part in text.split(","):
        found = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if found is None:
            raise ValueError(f"{part!r} is neither a row nor a range of rows, such as 1-15")
        numbers |= set(range(int(found[1]), int(found[2] or found[1]) + 1))
    if not numbers or not numbers <= {row.number for row in ROWS}:
        raise ValueError(f"rows are 1 to {LAST_ROW}")
    return [row for row in ROWS if row.number in numbers]


def report(rows: Sequence[FaultRow], verdicts: Verdicts) -> bool:
    """Print a line per row, and the totals; whether no row failed."""
    totals: Counter[str] = Counter()
    for row in rows:
        verdict, count = verdicts.of(row)
        totals[verdict.partition(":")[0]] += 1
        print(f"{row.number:>2}  {row.fault[:_COLUMN]:<{_COLUMN}}  {verdict}" + (f" ({count} tests)" if count else ""))
    print(", ".join(f"{verdict}: {count}" for verdict, count in sorted(totals.items())))
    return totals["FAIL"] == 0


def main() -> int:
    """Run them; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Run the tests of the fault table.")
    parser.add_argument("--rows", default=f"1-{LAST_ROW}", help="such as 1-15,57; default: all")
    parser.add_argument("--workers", default="2", help="test files in parallel; 0 for one at a time")
    options = parser.parse_args()
    try:
        rows = selected(options.rows)
    except ValueError as error:
        parser.error(f"--rows: {error}")
    tests = sorted({name for row in rows for name in row.shown_by})
    verdicts = Verdicts()
    if tests:
        arguments = ["-q", "--numprocesses", options.workers, "--dist", "loadfile", *tests]
        status = pytest.main(arguments, plugins=[verdicts])
        if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            return int(status)
    return 0 if report(rows, verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
