"""``doctor``: what is wrong with a set-up, and what to do about it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.failure import FAILED, USAGE
from app.cli.policy_input import JsonOption
from app.cli.tables import table_console
from app.domain.amount import amount

if TYPE_CHECKING:
    from app.diagnosis import Checked
    from app.domain.events import Event

_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "red"), "skipped": ("-", "dim")}


class _Deaf:
    """Takes events and drops them: the checks say what happens."""

    def emit(self, event: Event) -> None:
        """Drop it."""


def doctor(
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, max=600, help="Time limit of each check.")
    ] = 5.0,
    as_json: JsonOption = False,
) -> None:
    """Check everything that the broker needs, with the BROKER_ variables of ``serve``, and say what to do.

    Changes nothing, requests no token and prints no secret, so you can paste the output into a ticket. Exit status 0:
    no failures, perhaps warnings; 1: something is wrong; 2: a setting is invalid.
    """
    from app.bootstrap.diagnosis import diagnose
    from app.diagnosis import Checked, failed
    from app.settings.setting_errors import SettingsError
    from app.settings.settings import read_settings

    try:
        settings = read_settings()
    except SettingsError as error:
        finding = failed(str(error), "The README has a table of all variables.")
        _print([Checked("settings", finding, 0.0)], as_json)
        raise typer.Exit(USAGE) from None
    # Not as a context manager: closing the loop would wait for name lookups and files that hang.
    results = asyncio.Runner().run(diagnose(settings, _Deaf(), time.time, timeout))
    _print(results, as_json)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0 if _is_well(results) else FAILED)


def _is_well(results: Sequence[Checked]) -> bool:
    return all(each.finding.status != "failed" for each in results)


def _print(results: Sequence[Checked], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"ok": _is_well(results), "checks": [_as_json(each) for each in results]}))
        return
    from rich.text import Text

    console = table_console()
    for each in results:
        mark, style = _MARKS[each.finding.status]
        line = Text.assemble((mark, style), " ", (each.name, "bold"), f": {each.finding.detail}")
        console.print(line, soft_wrap=True)
        if each.finding.remedy:
            console.print(Text(f"    {each.finding.remedy}"), soft_wrap=True)
    counts = [sum(each.finding.status == status for each in results) for status in _MARKS]
    console.print(f"{counts[0]} ok, {amount(counts[1], 'warning')}, {counts[2]} failed, {counts[3]} skipped")


def _as_json(checked: Checked) -> dict[str, object]:
    finding = checked.finding
    return {
        "name": checked.name,
        "status": finding.status,
        "detail": finding.detail,
        "remedy": finding.remedy,
        "seconds": round(checked.seconds, 3),
    }
