"""Where tables are printed: on a terminal in its width and colours, otherwise whole lines without any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.domain.names import EXAMPLE_ORG

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_WIDE = 400
"""Columns of a table that goes to a pipe or a file."""


def table_console() -> Console:
    """A console on standard output. NO_COLOR is respected (https://no-color.org)."""
    from rich.console import Console

    terminal = Console(highlight=False)
    return terminal if terminal.is_terminal else Console(highlight=False, width=_WIDE)


def table_of_orgs(*headings: str) -> Table:
    """A table whose first column has org ids. They are never broken, so that they can be copied; other columns fold.

    Args:
        headings: Those of the other columns.

    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("ORG", no_wrap=True, min_width=len(EXAMPLE_ORG))
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
