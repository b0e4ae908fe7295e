"""The tree of commands. Slow imports are inside the commands, so that ``--help`` is quick."""

from __future__ import annotations

from typing import Annotated

import typer

from app import __version__
from app.cli import (
    audit,
    caller,
    cert,
    dev,
    doctor,
    health,
    incident,
    keys,
    org,
    policy,
    purge,
    sandbox,
    secret,
    serve,
    status,
    token,
)
from app.cli.failure import USAGE, Program

HELP_OPTIONS = {"help_option_names": ["--help", "-h"]}

app = typer.Typer(
    cls=Program,
    help="Hands short-lived Adobe IMS access tokens to internal services, for many IMS organisations at once.",
    epilog="Start with: ims-token-broker dev",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=HELP_OPTIONS,
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"ims-token-broker {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(USAGE)


app.command("serve")(serve.serve)
app.command("health")(health.health)
app.command("doctor")(doctor.doctor)
app.command("status")(status.status)
app.command("purge")(purge.purge)
app.command("dev")(dev.dev)
for group in (
    sandbox.app,
    token.app,
    org.app,
    caller.app,
    policy.app,
    keys.app,
    cert.app,
    secret.app,
    audit.app,
    incident.app,
):
    app.add_typer(group)
