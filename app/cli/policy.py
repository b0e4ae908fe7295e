"""``policy``: check a policy file before the broker reads it, and explain it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from app.cli.failure import FAILED, USAGE, CommandError
from app.cli.policy_diff import diff
from app.cli.policy_explain import explain
from app.cli.policy_input import JsonOption
from app.cli.policy_review import review

app = typer.Typer(name="policy", help="The policy file: which caller may get which token.", rich_markup_mode=None)
app.command("explain")(explain)
app.command("diff")(diff)
app.command("review")(review)


@app.command("check")
def check(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", envvar="BROKER_POLICY_FILE", help="The policy (YAML).", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Validate a policy file exactly as the broker does. Exit status 0: valid; 1: not; 2: there is no file.

    A valid file may have entries that allow nothing, because something is missing or blank, or their not_after has
    passed; these are listed.
    """
    from app.adapters.policy_file import read_policy
    from app.domain.plain_document import PolicyError, UnreadablePolicyError
    from app.domain.policy_ends import ended_notes

    if file is None:
        raise CommandError(
            "No policy: give FILE, or set BROKER_POLICY_FILE. Try 'ims-token-broker policy check --help'.", USAGE
        )
    try:
        policy = read_policy(file)
    except PolicyError as error:
        status = USAGE if isinstance(error, UnreadablePolicyError) else FAILED
        if as_json:
            typer.echo(json.dumps({"valid": False, "place": error.place, "expected": error.expected}))
            raise typer.Exit(status) from None
        raise CommandError(f"{file}: {error}.", status) from None
    callers, issuers = len(policy.callers), len(policy.issuers)
    notes = [*policy.notes, *ended_notes(policy, time.time())]
    if as_json:
        counts_and_notes = {"callers": callers, "issuers": issuers, "version": policy.version, "notes": notes}
        typer.echo(json.dumps({"valid": True, **counts_and_notes}))
    else:
        counts = f"{_counted(callers, 'caller')}, {_counted(issuers, 'issuer')}"
        typer.echo(f"{file}: valid: {counts}, version {policy.version}")
        for note in notes:
            typer.echo(f"{file}: note: {note}")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema of the policy file, for an editor that completes and checks it."""
    from app.domain.policy_schema import policy_schema

    typer.echo(json.dumps(policy_schema(), indent=2))
