"""The table of caches in `app/ARCHITECTURE.md` names every bounded memory, with the number that the code has."""

from __future__ import annotations

import importlib
import inspect
import re
from dataclasses import dataclass

import pytest

from tests.support.repository import ROOT

ARCHITECTURE = (ROOT / "app" / "ARCHITECTURE.md").read_text()
UNBOUNDED_HERE = "\N{EN DASH}"
"""In the column of numbers: the bound is not a constant in the code."""

GROWING = re.compile(
    r"LRUCache\[|FairMemory\[|OrderedDict\(\)|deque\(|queue\.Queue\("
    r"|^_?MAX_(?:REMEMBERED|TAUGHT|KNOWN|OWED|HELD)\b",
    re.MULTILINE,
)
"""How the code creates a collection that grows up to a bound."""


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    cache: str
    bound: str
    number: str

    @property
    def modules(self) -> set[str]:
        """The modules that the row names."""
        return {self.cache, self.number.partition("(")[0].rpartition(".")[0].replace(".", "/")}


def rows() -> list[Row]:
    """The table of caches."""
    section = ARCHITECTURE.partition("## Caches")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [Row(cells[0].strip("` "), cells[2], cells[3].strip("`")) for cells in cells]


def number_of(name: str) -> int:
    """The value of a constant, `module.NAME`, or of an argument's default, `module.Class(argument)`, below `app`."""
    path, _, argument = name.rstrip(")").partition("(")
    module, _, attribute = f"app.{path}".rpartition(".")
    value = getattr(importlib.import_module(module), attribute)
    if argument:
        value = inspect.signature(value).parameters[argument].default
    assert isinstance(value, int)
    return value


@pytest.mark.parametrize("row", [row for row in rows() if row.number != UNBOUNDED_HERE], ids=lambda row: row.number)
def test_the_number_of_a_cache_is_the_codes(row: Row) -> None:
    """The bound that the document gives is the one that the code has."""
    stated = re.match(r"[0-9,]+", row.bound)
    assert stated is not None, row
    assert int(stated[0].replace(",", "")) == number_of(row.number)


def test_every_bounded_memory_is_in_the_table() -> None:
    """A module of the broker that creates a bounded collection has a row; the sandbox and the commands are exempt."""
    named = {module for row in rows() for module in row.modules}
    growing = {
        path.relative_to(ROOT / "app").with_suffix("").as_posix()
        for folder in ("api", "service", "adapters", "process", "shared_cache", "bootstrap")
        for path in (ROOT / "app" / folder).rglob("*.py")
        if GROWING.search(path.read_text())
    }
    assert len(growing) > 10
    assert sorted(growing - named) == []


def test_every_row_names_a_module_or_a_package() -> None:
    """No row is about a module that no longer exists."""
    app = ROOT / "app"
    assert [
        row.cache for row in rows() if not (app / f"{row.cache}.py").exists() and not (app / row.cache).is_dir()
    ] == []
