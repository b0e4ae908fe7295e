"""A name has one meaning: opening a file by name, or searching for a class, finds one thing."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from pathlib import Path

from tests.support.repository import ROOT

APP = ROOT / "app"

ONE_CONCEPT = {
    "app.py": "a FastAPI application: the broker's, and the sandbox's, which shares no code with it",
    "health.py": "the probes of a replica: the routes, and the command that calls them",
    "lease.py": "the port `Lease`: in Redis, and in memory",
    "policy.py": "the policy: its rules, and the command that checks a file",
    "purge_log.py": "the port `PurgeLog`: in Redis, and in memory",
    "token.py": "`GET /token`: the route, and the command that calls it",
    "tokens.py": "the tokens that are cached in memory: the broker's, and the sandbox's",
}
"""File names that may exist twice, because both files are about one concept."""


def modules() -> list[Path]:
    """All modules of the broker, except `__init__` and the like."""
    return [path for path in sorted(APP.rglob("*.py")) if not path.name.startswith("__")]


def test_no_file_name_has_two_meanings() -> None:
    """Files that share a name are about one concept, and the list above has no other names."""
    found = Counter(path.name for path in modules())

    assert {name for name, count in found.items() if count > 1} == set(ONE_CONCEPT)


def test_no_class_name_has_two_meanings() -> None:
    """Two public classes never have the same name."""
    found = defaultdict(list)
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(path.relative_to(ROOT).as_posix())

    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}
