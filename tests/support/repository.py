"""Where this checkout is, its documents and its Python modules."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""Its top folder."""

DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for top in (ROOT, *(ROOT / name for name in ("app", "benchmarks", "clients", "deploy", "docs", "tests")))
    for path in (top.glob("*.md") if top == ROOT else top.rglob("*.md"))
)
"""All documents for people."""


def modules(folder: Path) -> list[Path]:
    """All Python modules below a folder."""
    found = sorted(folder.rglob("*.py"))
    assert found, folder
    return found


def named(path: Path) -> str:
    """A path, relative to the repository's root."""
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    """A module, parsed."""
    return ast.parse(path.read_text())
