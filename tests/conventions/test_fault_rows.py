"""The fault table is complete, each test that it names exists, and its page is the table."""

from __future__ import annotations

import ast

import pytest

from tests.faults.__main__ import Verdicts, report, selected
from tests.faults.row import FaultRow
from tests.faults.rows import LAST_ROW, ROWS
from tests.support.faults_page import PAGE, page
from tests.support.repository import ROOT, tree_of


def test_each_row_is_there_once() -> None:
    """The rows are 1 to 85, in order."""
    assert [row.number for row in ROWS] == list(range(1, LAST_ROW + 1))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.number))
def test_a_row_has_tests_or_a_reason(row: FaultRow) -> None:
    """A row names tests, each once, or says why none can run here."""
    assert bool(row.shown_by) != bool(row.reason)
    assert len(set(row.shown_by)) == len(row.shown_by)
    assert row.fault.endswith(".")
    assert row.behaviour.endswith(".")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.number))
def test_the_tests_of_a_row_exist(row: FaultRow) -> None:
    """Each test is defined in its file, and in its class if one is named."""
    assert [name for name in row.shown_by if not _is_defined(name)] == []


def test_each_test_of_the_suite_belongs_to_a_row() -> None:
    """A test in `tests/faults` shows a row, and one that is renamed is noticed."""
    defined = {
        f"{path.relative_to(ROOT).as_posix()}::{node.name}"
        for path in (ROOT / "tests" / "faults").glob("test_*.py")
        for node in tree_of(path).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }
    assert defined - {name for row in ROWS for name in row.shown_by} == set()


def test_the_page_is_written_from_the_rows() -> None:
    """`docs/faults.md` is what `python -m tests.support.faults_page` writes."""
    assert PAGE.read_text() == page(), "stale: run `python -m tests.support.faults_page`"


ROW = FaultRow(1, "A fault.", "It is survived.", ("tests/x.py::test_a", "tests/x.py::test_b"))


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        (({"": "passed"}, {"": "passed"}), "pass (2 tests)"),
        (({"one]": "passed", "two]": "failed"}, {"": "passed"}), "FAIL (3 tests)"),
        (({"": "passed"}, {}), "FAIL (1 tests)"),
        (({"": "skipped"}, {"": "passed"}), "pass (1 tests)"),
        (({"": "skipped"}, {"": "skipped"}), "cannot run here: no Vault"),
    ],
)
def test_a_row_fails_if_a_test_fails_or_is_missing(
    capsys: pytest.CaptureFixture[str], outcomes: tuple[dict[str, str], dict[str, str]], verdict: str
) -> None:
    """One failed case, or a test that did not run, fails the row; skipped tests are no failure, and are reported."""
    verdicts = Verdicts(reasons=dict.fromkeys(ROW.shown_by, "no Vault"))
    for name, found in zip(ROW.shown_by, outcomes, strict=True):
        verdicts.outcomes[name] |= found
    assert report([ROW], verdicts) is not verdict.startswith("FAIL")
    line, totals = capsys.readouterr().out.splitlines()
    assert line.endswith(verdict)
    assert totals == f"{verdict.partition(':')[0].partition(' (')[0]}: 1"


def test_rows_are_selected_by_numbers_and_ranges() -> None:
    """`1-3,86` are four rows; what is not a row of the table is refused."""
    assert [row.number for row in selected("1-3,86")] == [1, 2, 3, 86]
    for wrong in ("0", "87", "1-87", "", "x", "3-1", "1-", "-3", "²"):
        with pytest.raises(ValueError, match=r"rows are|range of rows"):
            selected(wrong)


def _is_defined(name: str) -> bool:
    file, *path = name.split("::")
    body: list[ast.stmt] = tree_of(ROOT / file).body if (ROOT / file).exists() else []
    for part in path:
        named = [
            node
            for node in body
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name == part
        ]
        if len(named) != 1:
            return False
        body = named[0].body
    return bool(path)
