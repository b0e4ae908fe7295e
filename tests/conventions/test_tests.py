"""House rules for tests: each states its claim, none mocks or sleeps, and a missing tool is skipped in one way."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support.repository import ROOT, modules, named, tree_of

APP, TESTS = ROOT / "app", ROOT / "tests"


@pytest.mark.parametrize("path", sorted([*TESTS.rglob("test_*.py"), *(ROOT / "clients").rglob("test_*.py")]), ids=named)
def test_every_test_states_its_claim(path: Path) -> None:
    """Every test has a docstring that is a sentence."""
    silent = [
        node.name
        for node in ast.walk(tree_of(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.name.startswith("test_")
        and not (ast.get_docstring(node) or "").endswith(".")
    ]

    assert silent == []


def test_no_test_mocks() -> None:
    """Tests use fakes that honour the port's contract: nothing imports `unittest.mock`."""
    assert [named(path) for path in modules(TESTS) if "unittest" in _imported(tree_of(path))] == []


def _imported(tree: ast.Module) -> set[str]:
    """The top-level packages that a module imports, including inside functions."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def test_no_test_sleeps() -> None:
    """Tests wait for events, not for time to pass: only `tests/support` calls `time.sleep`."""
    outside = [path for path in modules(TESTS) if not path.is_relative_to(TESTS / "support")]
    calls = [(path, node.func) for path in outside for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]

    assert [place(path, function) for path, function in calls if ast.unparse(function) == "time.sleep"] == []
    assert [named(path) for path in outside if "sleep" in _from_time(tree_of(path))] == []


def _from_time(tree: ast.Module) -> set[str]:
    """The names that a module imports from `time`."""
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "time"]
    return {alias.name for node in imports for alias in node.names}


def test_a_missing_tool_is_skipped_in_one_way() -> None:
    """A test skips only through `skip_or_fail`, which fails in CI; `skipif` is for what another platform lacks."""
    outside = [path for path in modules(TESTS) if path != TESTS / "support" / "tools.py"]
    ways = {"pytest.skip", "pytest.importorskip", "pytest.mark.skip", "pytest.xfail"}
    names = [(path, node) for path in outside for node in ast.walk(tree_of(path)) if isinstance(node, ast.Attribute)]

    assert [place(path, node) for path, node in names if ast.unparse(node) in ways] == []


def place(path: Path, node: ast.expr) -> str:
    """A location in the form `path:line`, which editors open."""
    return f"{named(path)}:{node.lineno}"


def test_tests_wait_and_record_in_one_way() -> None:
    """There is one `until` and one recorder of events; another recorder extends it."""
    waits, recorders = [], []
    for path in modules(TESTS):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef) and node.name == "until":
                waits.append(named(path))
            if isinstance(node, ast.ClassDef) and not node.bases and _appends_events(node):
                recorders.append(f"{named(path)} {node.name}")
    assert waits == ["tests/support/waiting.py"]
    assert recorders == ["tests/support/recorded_events.py RecordedEvents"]


def _appends_events(node: ast.ClassDef) -> bool:
    """Whether its method `emit` appends what it gets to a list."""
    emits = [item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "emit"]
    return any(isinstance(call, ast.Attribute) and call.attr == "append" for emit in emits for call in ast.walk(emit))
