"""``sandbox journal``: what a running sandbox was asked, and how it answered."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from app.cli.failure import INTERRUPTED
from app.cli.sandbox_control import DEFAULT_SANDBOX_URL, SandboxControl, SandboxUrlOption

_PAUSE = 0.2
"""Seconds between two looks at the journal."""

_COLUMNS = "{time:<24}  {endpoint:<17}  {outcome:<18}  {client:<24}  {org:<34}  {debug_id}"


def journal(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing new requests until Ctrl-C.")] = False,
    client_id: Annotated[str | None, typer.Option("--client-id", metavar="ID", help="Only this client.")] = None,
    url: SandboxUrlOption = DEFAULT_SANDBOX_URL,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON; with --follow, one per request.")
    ] = False,
) -> None:
    """List the requests that a running sandbox received.

    Each exchange and each call to an emulated Adobe API has one line: its time, endpoint, outcome, client, org, and the
    X-Debug-Id of its answer; never a secret or a token. An outcome like "fault: status" is the kind of a fault that
    replaced the answer; one in parentheses only delayed or changed it.
    """
    control = SandboxControl(url)
    last, entries = 0, control.journal(0, client_id)
    if as_json and not follow:
        typer.echo(json.dumps({"entries": entries}))
        return
    if not as_json:
        names = {name: name for name in ("time", "endpoint", "outcome", "client", "org")}
        typer.echo(_COLUMNS.format(**names, debug_id="debug id"))
    try:
        _print(entries, as_json)
        while follow:
            time.sleep(_PAUSE)
            last = int(entries[-1]["seq"]) if entries else last
            entries = control.journal(last, client_id)
            _print(entries, as_json)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _print(entries: list[dict[str, Any]], as_json: bool) -> None:
    for entry in entries:
        typer.echo(json.dumps(entry) if as_json else _line(entry))


def _line(entry: Mapping[str, Any]) -> str:
    at = datetime.fromtimestamp(float(entry["time"]), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    outcome, fault = str(entry["outcome"]), entry.get("fault")
    if fault is not None:
        outcome = f"fault: {fault}" if outcome == fault else f"{outcome} ({fault})"
    return _COLUMNS.format(
        time=at,
        endpoint=entry["endpoint"],
        outcome=outcome,
        client=entry["client_id"] or "-",
        org=entry["org"] or "-",
        debug_id=entry["debug_id"] or "-",
    )
