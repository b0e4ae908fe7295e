"""The table of ``status`` for a terminal or a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.cli.status_rows import StatusRow
from app.cli.tables import table_of_orgs
from app.domain.amount import amount

if TYPE_CHECKING:
    from rich.console import Group

_BAR = 10
_COLOURS = {"fresh": "green", "aging": "yellow", "critical": "red", "expired": "red"}


def status_table(rows: Sequence[StatusRow]) -> Group:
    """The rows and a line that counts them."""
    from rich.console import Group
    from rich.text import Text

    table = table_of_orgs("CREDENTIAL", "KIND", "GENERATION", "TOKEN", "LIFE LEFT", "", "CERTIFICATE", "LAST ERROR")
    for row in rows:
        colour = _COLOURS.get(row.token_state, "")
        table.add_row(
            *(Text(text) for text in (row.org, row.credential, row.kind, row.generation)),
            Text(row.token_state, style=colour),
            Text(_bar(row.share), style=colour),
            row.remaining_text,
            Text(row.certificate_text),
            Text(row.last_error, style="red"),
        )
    return Group(table, Text(summary(rows)))


def summary(rows: Sequence[StatusRow]) -> str:
    """How many credentials there are, and how many need a look."""
    attention = sum(row.needs_attention for row in rows)
    return f"{amount(len(rows), 'credential')}, {attention} to look at"


def _bar(share: float | None) -> str:
    if share is None:
        return ""
    filled = round(share * _BAR)
    return "#" * filled + "." * (_BAR - filled)
