"""Writes docs/faults.md from the rows of the fault table: ``python -m tests.support.faults_page``."""

from __future__ import annotations

from collections.abc import Iterator

from tests.faults.row import FaultRow
from tests.faults.rows import SECTIONS
from tests.support.repository import ROOT

PAGE = ROOT / "docs" / "faults.md"

_HEAD = """\
# Faults

What can fail around a broker, what callers then see, and which tests show it. `make faults` runs the tests of all rows
and prints one line per row; `make faults ROWS=1-15` runs some. `make faults-soak` injects random faults for as long as
you like ([tests/README.md](../tests/README.md#the-fault-table)). Do not edit this page:
`python -m tests.support.faults_page` generates it from `tests/faults/rows.py`.
"""


def page() -> str:
    """The page."""
    return "\n".join([_HEAD, *_sections()])


def _sections() -> Iterator[str]:
    for title, rows in SECTIONS.items():
        yield f"## {title}\n"
        yield "| # | fault | required | shown by |"
        yield "|---|---|---|---|"
        yield from (f"| {row.number} | {row.fault} | {row.behaviour} | {_shown(row)} |" for row in rows)
        yield ""


def _shown(row: FaultRow) -> str:
    if row.reason:
        return f"No test here: {row.reason}."
    tests = "<br>".join(f"`{name}`" for name in row.shown_by)
    return f"{tests}<br>{row.limits}" if row.limits else tests


def main() -> None:
    """Write the page."""
    PAGE.write_text(page())
    print(f"Wrote {PAGE.name}")


if __name__ == "__main__":
    main()
