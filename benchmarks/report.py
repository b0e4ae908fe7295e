"""Rows of a benchmark, and the table of all rows as JSON, as Markdown and for a terminal."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from typing_extensions import override

RESULTS = Path(__file__).with_name("results.json")
DOCUMENT = Path(__file__).with_name("RESULTS.md")


@dataclass(frozen=True)
class Target:
    """What a value must be.

    Args:
        bound: The bound.
        is_least: Whether it is the least value; otherwise the greatest.
        unit: Of the bound and the value, such as ``ms``; empty for a ratio.

    """

    bound: float
    is_least: bool
    unit: str = ""

    def is_met(self, value: float) -> bool:
        """Whether a value meets it."""
        return value >= self.bound if self.is_least else value <= self.bound

    @override
    def __str__(self) -> str:
        return f"{'≥' if self.is_least else '≤'} {_shown(self.bound, self.unit)}"


def at_least(bound: float, unit: str = "") -> Target:
    """A target that larger values meet."""
    return Target(bound, True, unit)


def at_most(bound: float, unit: str = "") -> Target:
    """A target that smaller values meet."""
    return Target(bound, False, unit)


@dataclass(frozen=True)
class Row:
    """One measured figure.

    Args:
        what: What was measured.
        reference: What it is compared with, measured in the same run; empty for an absolute figure.
        target: What the value must be.
        value: The ratio, or the absolute figure in the unit of the target.
        seen: The figures behind the value, for a person to read.
        if_missed: Why the target may be missed, in a sentence; shown only then.

    """

    what: str
    reference: str
    target: Target
    value: float
    seen: str
    if_missed: str = ""

    @property
    def is_met(self) -> bool:
        """Whether the target is met."""
        return self.target.is_met(self.value)


@dataclass(frozen=True)
class Taken:
    """When and where rows were measured.

    Args:
        at: The time in UTC.
        commit: What was measured, as Git describes it.
        machine: The kind of machine.
        busy: The load average of the minute before: 0 on a quiet machine.
        seconds: How long it took.

    """

    at: str
    commit: str
    machine: str
    busy: float
    seconds: float


@dataclass(frozen=True)
class Section:
    """The rows of one benchmark."""

    taken: Taken
    rows: Sequence[Row]


Results = Mapping[str, Section]


def machine() -> str:
    """The kind of this machine: processor, cores, Python."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    cores = len(os.sched_getaffinity(0))
    return f"{model}, {cores} cores, Linux {platform.release().partition('-')[0]}, Python {platform.python_version()}"


def commit() -> str:
    """What Git says of this checkout; ``unknown`` without Git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    done = subprocess.run(command, cwd=RESULTS.parent, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def read_results(path: Path = RESULTS) -> Results:
    """The results in a file; none if there is no file."""
    document: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return {
        name: Section(
            Taken(**section["taken"]),
            [Row(**{**row, "target": Target(**row["target"])}) for row in section["rows"]],
        )
        for name, section in document.items()
    }


def write_results(results: Results, path: Path = RESULTS, document: Path = DOCUMENT) -> None:
    """Write the results as JSON and as Markdown."""
    path.write_text(json.dumps({name: asdict(section) for name, section in results.items()}, indent=1) + "\n")
    document.write_text(markdown(results))


def markdown(results: Results) -> str:
    """The document of the results."""
    return "\n".join((*_head(), *(line for name, section in results.items() for line in _section(name, section)), ""))


def table(rows: Iterable[Row]) -> str:
    """The rows for a terminal."""
    return "\n".join(_terminal_line(row) for row in rows)


def _head() -> Iterator[str]:
    yield "# Results of the benchmarks"
    yield ""
    yield (
        "Written by `make bench`, and not by hand. Each ratio is a median of runs that took turns on the same machine, "
        "server and load on different cores."
    )
    yield (
        "Throughput is compared per second of the server's CPU time, which other processes disturb least. Latency is "
        "by the clock, and a busy machine spoils it:"
    )
    yield "the load average of the minute before each benchmark is given (0 is a quiet machine)."
    yield "[README.md](README.md) says what each benchmark does. ![Exchanges of a simulated fleet](../docs/fleet.svg)"


def _section(name: str, section: Section) -> Iterator[str]:
    taken = section.taken
    yield from ("", f"## {name}", "")
    yield (
        f"{taken.at}, commit {taken.commit}, {taken.machine}; load average before the run {taken.busy:.1f}; "
        f"{taken.seconds:.0f} s."
    )
    yield from ("", "| what | reference, same run | target | seen | value | |", "|---|---|---|---|---|---|")
    for row in section.rows:
        value = _shown(row.value, row.target.unit)
        met = "met" if row.is_met else "**not met**"
        yield f"| {row.what} | {row.reference or '-'} | {row.target} | {row.seen} | {value} | {met} |"
    missed = [row for row in section.rows if not row.is_met]
    if missed:
        yield ""
        yield from (f"- _{_compared(row)}_, {row.target}: {row.if_missed or 'not explained yet.'}" for row in missed)


def _terminal_line(row: Row) -> str:
    met = "met" if row.is_met else "NOT MET"
    value = _shown(row.value, row.target.unit)
    return f"{met:8}{value:>12}  {row.target!s:12}  {_compared(row)}  ({row.seen})"


def _compared(row: Row) -> str:
    return f"{row.what} : {row.reference}" if row.reference else row.what


def _shown(value: float, unit: str) -> str:
    digits = 0 if abs(value) >= 100 or (value == int(value) and abs(value) >= 10) else 2
    digits = 3 if 0 < abs(value) < 0.01 else digits
    number = f"{value:,.{digits}f}"
    return f"{number} {unit}".rstrip()
