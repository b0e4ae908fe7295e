"""Tables on a narrow terminal, and numbers with their nouns."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from app.cli.status_table import summary
from app.cli.tables import table_of_orgs
from app.domain.amount import amount
from tests.factories import ORG

WORDS = ("journey-optimizer-prod", "oauth_server_to_server", "000000000001", "fresh", "##########", "23 h", "365 days")


@pytest.mark.parametrize("columns", [3, 5, 7])
def test_an_org_id_is_never_broken(columns: int) -> None:
    """At 80 columns the org id stays whole, and other columns fold, none to nothing."""
    table = table_of_orgs(*(f"HEADING {number}" for number in range(columns)))
    table.add_row(ORG, *WORDS[:columns])
    output = StringIO()
    Console(file=output, width=80).print(table)
    lines = output.getvalue().splitlines()
    assert sum(ORG in line for line in lines) == 1
    assert all(len(line.rstrip()) <= 80 for line in lines)
    assert len(lines) > 2


@pytest.mark.parametrize(("number", "text"), [(0, "0 entries"), (1, "1 entry"), (2, "2 entries")])
def test_one_is_singular(number: int, text: str) -> None:
    """One of a thing is named in the singular."""
    assert amount(number, "entry", "entries") == text
    assert summary([]) == "0 credentials, 0 to look at"
