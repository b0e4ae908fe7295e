"""The committed results of the benchmarks: the document is made from them, and the guard finds what it needs there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.guard import LEAST_SHARE, committed_ratios, lost
from benchmarks.menu import BENCHMARKS
from benchmarks.report import (
    DOCUMENT,
    Results,
    Row,
    Section,
    Taken,
    at_least,
    at_most,
    markdown,
    read_results,
    write_results,
)
from tests.support.repository import ROOT

TAKEN = Taken("2026-01-01 00:00 UTC", "abc", "a machine", 0.5, 12.0)
GOOD = Row("warm", "raw", at_least(0.7), 0.75, "75 against 100")
BAD = Row("p99", "raw", at_most(5, "ms"), 7.125, "7.125", "The machine was busy.")


def test_the_document_is_made_from_the_results() -> None:
    """`benchmarks/RESULTS.md` is what `benchmarks/results.json` says; `make bench` writes both."""
    assert DOCUMENT.read_text() == markdown(read_results())


def test_every_benchmark_has_results() -> None:
    """Each benchmark that `make bench` runs has committed results, and there are no others."""
    assert list(read_results()) == list(BENCHMARKS)


def test_the_committed_results_have_what_the_guard_compares() -> None:
    """The guard finds its ratios in the committed results, and would pass if it measured them again."""
    committed = committed_ratios(read_results())
    assert lost(committed, committed) == []


def test_the_guard_fails_without_committed_results() -> None:
    """Results that lack the warm path are an error, not a success."""
    with pytest.raises(SystemExit, match="make bench"):
        committed_ratios({"warm_path": Section(TAKEN, [GOOD])})


@pytest.mark.parametrize(("seen", "names"), [(LEAST_SHARE * 0.5 - 0.001, ["one"]), (LEAST_SHARE * 0.5, [])])
def test_the_guard_compares_with_a_share_of_the_committed_ratio(seen: float, names: list[str]) -> None:
    """A ratio is lost if it is below the share, and not before."""
    assert lost({"one": seen, "other": 1.0}, {"one": 0.5, "other": 1.0}) == names


def test_results_survive_writing(tmp_path: Path) -> None:
    """What is written is read again, and the document has each row with its verdict and the reason of a miss."""
    results: Results = {"some": Section(TAKEN, [GOOD, BAD])}
    write_results(results, tmp_path / "results.json", tmp_path / "RESULTS.md")
    assert read_results(tmp_path / "results.json") == results
    text = (tmp_path / "RESULTS.md").read_text()
    assert "| warm | raw | ≥ 0.70 | 75 against 100 | 0.75 | met |" in text
    assert "| p99 | raw | ≤ 5.00 ms | 7.125 | 7.12 ms | **not met** |" in text
    assert "- _p99 : raw_, ≤ 5.00 ms: The machine was busy." in text
    assert text.count("not explained") == 0


def test_a_missed_target_without_a_reason_is_visible() -> None:
    """A row that misses its target for an unknown reason says so."""
    row = Row("p99", "", at_most(5, "ms"), 7, "7")
    assert "not explained yet" in markdown({"some": Section(TAKEN, [row])})


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if "__name__ ==" in path.read_text())
)
def test_a_benchmark_explains_itself(name: str) -> None:
    """`python -m benchmarks.NAME --help` says what it measures, without measuring; what it does not know is refused."""

    def ran(argument: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}", argument],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    explained, refused = ran("--help"), ran("--unknown")
    program = f"python -m benchmarks.{name}".removesuffix(".__main__")
    assert (explained.returncode, explained.stdout.partition(" [")[0]) == (0, f"usage: {program}")
    assert refused.returncode == 2
