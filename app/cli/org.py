"""``org``: the IMS organisations whose credentials the broker has."""

from __future__ import annotations

import typer

from app.cli.org_import import import_

app = typer.Typer(name="org", help="IMS organisations and their credentials.", rich_markup_mode=None)


@app.callback()
def _org() -> None:
    """Keep ``import`` a subcommand while it is the only one."""


app.command("import")(import_)
