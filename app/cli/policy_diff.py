"""``policy diff``: who gains and who loses what from one policy to another."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.failure import FAILED
from app.cli.policy_input import JsonOption, read_policy_file
from app.cli.policy_words import listed

if TYPE_CHECKING:
    from app.domain.policy_comparison import RightsChange


def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="The old policy (YAML).", show_default=False)],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The new policy (YAML).", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Show who gains and who loses access from one policy to another, whatever the order of the rules.

    Anything whose not_after has passed counts as removed. At most ten orgs or scopes are printed at a time; --json has
    all. Exit status 0: no difference; 1: differences; 2: a file is missing or bad.
    """
    from app.domain.policy_comparison import rights_changes
    from app.domain.policy_identities import other_changes

    policies, now = (read_policy_file(old), read_policy_file(new)), time.time()
    others, rights = list(other_changes(*policies, now)), list(rights_changes(*policies, now))
    if as_json:
        answer = {"others": [asdict(change) for change in others], "rights": [_as_json(change) for change in rights]}
        typer.echo(json.dumps({"different": bool(others or rights), **answer}))
    else:
        for other in others:
            typer.echo(f"{other.subject} {other.direction} {other.what}.")
        for change in rights:
            typer.echo(_sentence(change))
        if not others and not rights:
            typer.echo("No difference: every caller may do the same.")
    if others or rights:
        raise typer.Exit(FAILED)


def _as_json(change: RightsChange) -> dict[str, object]:
    from app.domain.rfc3339 import rfc3339

    found, period = asdict(change), change.period
    del found["period"]
    times = {name: None if at is None else rfc3339(at) for name, at in (("start", period.start), ("end", period.end))}
    return {"direction": period.direction, **found, **times}


def _sentence(change: RightsChange) -> str:
    from app.domain.policy_comparison import EVERY_ORG, EVERY_SCOPE
    from app.domain.rfc3339 import rfc3339

    scopes = "the scopes " + _listed(change.scopes) if change.scopes else ""
    if EVERY_SCOPE in change.scopes:
        scopes = _every("scope", change.other_scopes)
    rights = " with ".join(part for part in (", ".join(change.actions), scopes) if part)
    orgs = _every("org", change.other_orgs) if EVERY_ORG in change.orgs else _listed(change.orgs)
    period = change.period
    start = "" if period.start is None else f" from {rfc3339(period.start)}"
    end = "" if period.end is None else f" until {rfc3339(period.end)}"
    return f"{change.caller} {period.direction} {rights} for {orgs}, credential {change.credential}{start}{end}."


def _listed(items: tuple[str, ...]) -> str:
    return listed(items, " (--json has all)")


def _every(noun: str, exceptions: tuple[str, ...]) -> str:
    return f"every {noun} except {_listed(exceptions)}" if exceptions else f"every {noun}"
