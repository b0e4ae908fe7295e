"""A name has one meaning: opening a file by name, or searching for a class, finds one thing."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from pathlib import Path

from tests.support.repository import ROOT, named, tree_of

APP, TESTS = ROOT / "app", ROOT / "tests"

ONE_CONCEPT = {
    "app.py": "a FastAPI application: the broker's, and the sandbox's, which shares no code with it",
    "health.py": "the probes of a replica: the routes, and the command that calls them",
    "lease.py": "the port `Lease`: in Redis, and in memory",
    "policy.py": "the policy: its rules, and the command that checks a file",
    "purge_log.py": "the port `PurgeLog`: in Redis, and in memory",
    "status.py": "the state of credentials: what the broker reads, and the command that shows it",
    "token.py": "`GET /token`: the route, and the command that calls it",
    "tokens.py": "the tokens that are cached in memory: the broker's, and the sandbox's",
}
"""File names that may exist twice, because both files are about one concept."""

ONE_PURPOSE = {
    "app": "the commands of one group, as Typer wants them",
    "check": "the command that checks a file: the policy, and the key ring",
    "create": "the command that creates something: a caller, a key ring, a certificate",
    "log": "the logger of a module",
    "serve": "running the broker: its function, and the command that calls it",
}
"""Functions and constants that may exist twice, because the command line or the standard library names them so."""


def modules() -> list[Path]:
    """All modules of the broker, except `__init__` and the like."""
    return [path for path in sorted(APP.rglob("*.py")) if not path.name.startswith("__")]


def test_no_file_name_has_two_meanings() -> None:
    """Files that share a name are about one concept, and the list above has no other names."""
    found = Counter(path.name for path in modules())

    assert {name for name, count in found.items() if count > 1} == set(ONE_CONCEPT)


def test_no_class_name_has_two_meanings() -> None:
    """Two public classes of the broker never have the same name, nor do any two classes of the tests."""
    own = classes(modules())
    tests = classes(sorted(TESTS.rglob("*.py")))

    assert {name: places for name, places in own.items() if len(places) > 1} == {}
    assert {name: places for name, places in tests.items() if len(places) > 1} == {}
    assert {name: tests[name] for name in own.keys() & tests} == {}


def test_no_function_or_constant_has_two_meanings() -> None:
    """Two public functions or constants of modules never have the same name; type variables do not count."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in modules():
        for name in _top_level_names(tree_of(path)):
            found[name].append(named(path))

    assert {name: paths for name, paths in found.items() if len(paths) > 1 and name not in ONE_PURPOSE} == {}
    assert {name for name in ONE_PURPOSE if len(found[name]) < 2} == set()


def _top_level_names(tree: ast.Module) -> list[str]:
    """The public names that a module gives to functions, constants and type aliases."""
    names = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign) and not ast.unparse(node.value).startswith("TypeVar("):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.append(node.target.id)
    return [name for name in names if not name.startswith("_")]


def classes(paths: list[Path]) -> dict[str, list[str]]:
    """The classes that these modules define at any depth, and where, except those that begin with an underscore."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(f"{named(path)}:{node.lineno}")
    return found
