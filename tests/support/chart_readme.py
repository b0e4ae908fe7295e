"""Writes the table of values into the chart's README: ``python -m tests.support.chart_readme``.

Each value of ``values.yaml`` has a comment ``# -- text`` on the line above it, as helm-docs has it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from tests.support.chart import CHART

README = CHART / "README.md"
BEGIN, END = "<!-- values -->\n", "<!-- /values -->"
_LINE = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z][A-Za-z0-9_]*):(?: .*)?$")
_COMMENT = re.compile(r"^ *# -- (?P<text>.+)$")


class UndescribedError(Exception):
    """A value has no comment, or a comment no value; the text names it."""


@dataclass(frozen=True)
class DescribedValue:
    """A row of the table.

    Args:
        path: Dotted path of the value.
        default: Its default.
        text: The text of its comment.

    """

    path: str
    default: Any
    text: str


def described_values(text: str) -> list[DescribedValue]:
    """The values of a ``values.yaml`` in order: each leaf is described by itself or as part of what is above it.

    Raises:
        UndescribedError: A leaf is described nowhere.

    """
    values, comments = yaml.safe_load(text), dict(_comments(text))
    rows: list[DescribedValue] = []

    def walk(value: Any, path: str) -> None:
        whole = path in comments
        inside = (
            [key for key in value if f"{path}.{key}" in comments or _deep(f"{path}.{key}", comments)]
            if (isinstance(value, dict))
            else []
        )
        if whole:
            rows.append(DescribedValue(path, value if not inside else ..., comments[path]))
        if isinstance(value, dict) and (inside or not whole):
            if not value:
                raise UndescribedError(path)
            for key, child in value.items():
                walk(child, f"{path}.{key}")
        elif not whole:
            raise UndescribedError(path)

    for key, value in values.items():
        walk(value, key)
    unused = comments.keys() - {row.path for row in rows}
    if unused:
        raise UndescribedError(f"comments without a value: {sorted(unused)}")
    return rows


def values_table() -> str:
    """The table, as Markdown."""
    rows = ["| value | default | meaning |", "|---|---|---|"]
    for row in described_values((CHART / "values.yaml").read_text()):
        default = "" if row.default in ("", None, ...) else f"`{_shown(row.default)}`"
        rows.append(f"| `{row.path}` | {default} | {row.text} |")
    return "\n".join(rows).replace("|---|---|---|", "| --- | --- | --- |") + "\n"


def main() -> None:
    """Rewrite the README's table."""
    before, _, rest = README.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    README.write_text(f"{before}{BEGIN}{values_table()}{END}{after}")
    print(f"Wrote the table of values into {README.name}")


def _shown(value: Any) -> str:
    text = json.dumps(value) if not isinstance(value, str) else value
    return text.replace("|", "\\|")


def _deep(path: str, comments: dict[str, str]) -> bool:
    return any(known.startswith(f"{path}.") for known in comments)


def _comments(text: str) -> Iterator[tuple[str, str]]:
    """Paths that have a comment, and the comment."""
    parents: list[tuple[int, str]] = []
    comment = None
    for line in text.splitlines():
        if found := _COMMENT.match(line):
            comment = found["text"]
        elif found := _LINE.match(line):
            indent = len(found["indent"])
            parents = [(depth, key) for depth, key in parents if depth < indent]
            parents.append((indent, found["key"]))
            if comment is not None:
                yield ".".join(key for _, key in parents), comment
            comment = None


if __name__ == "__main__":
    main()
