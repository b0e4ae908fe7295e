"""Where tables are printed: on a terminal in its width and colours, otherwise whole lines without any."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_WIDE = 400
"""Columns of a table that goes to a pipe or a file."""


def table_console() -> Console:
    """A console on standard output. NO_COLOR is respected (https://no-color.org)."""
    from rich.console import Console

    terminal = Console(highlight=False)
    return terminal if terminal.is_terminal else Console(highlight=False, width=_WIDE)
