"""``status``: the state of all credentials that a caller may see, from a running broker."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from app.cli.broker_client import BrokerClient, read_api_key
from app.cli.broker_options import DEFAULT_URL, ApiKeyOption, CaOption, UrlOption
from app.cli.failure import INTERRUPTED, USAGE, CommandError
from app.cli.new_file import replace_file
from app.cli.status_rows import StatusRow, rows_of


def status(
    url: UrlOption = DEFAULT_URL,
    api_key_file: ApiKeyOption = None,
    ca_file: CaOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh every --every seconds until Ctrl-C.")] = False,
    every: Annotated[int, typer.Option(metavar="SECONDS", min=1, max=3600, help="With --watch: how often.")] = 5,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write an HTML page without scripts to this file instead, with mode 0600."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Show kind, generation, token life, certificate and last error of each credential that you may see.

    The caller needs the action ``status``. The command causes no calls to IMS.
    """
    if as_json and (watch or html is not None):
        raise CommandError("Give --json alone.", USAGE)
    client = BrokerClient(url, read_api_key(api_key_file), ca_file)

    def rows() -> list[StatusRow]:
        return list(rows_of(client.orgs(), time.time()))

    if as_json:
        typer.echo(json.dumps({"credentials": [_as_json(row) for row in rows()]}))
        return
    try:
        if html is not None:
            _write_pages(rows, html, every if watch else None)
        else:
            _show(rows, every if watch else None)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _write_pages(rows: Callable[[], list[StatusRow]], file: Path, every: int | None) -> None:
    from app.cli.status_page import status_page

    while True:
        replace_file(file, status_page(rows(), time.time()))
        typer.echo(f"Wrote {file}.", err=True)
        if every is None:
            return
        time.sleep(every)


def _show(rows: Callable[[], list[StatusRow]], every: int | None) -> None:
    from rich.live import Live

    from app.cli.status_table import status_table
    from app.cli.tables import table_console

    console = table_console()
    if every is None or not console.is_terminal:
        console.print(status_table(rows()))
        while every is not None:
            time.sleep(every)
            console.print(status_table(rows()))
        return
    with Live(status_table(rows()), console=console, auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(every)
            live.update(status_table(rows()), refresh=True)


def _as_json(row: StatusRow) -> dict[str, object]:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in asdict(row).items()}
