"""The tree of commands. A command is imported when it is needed, and imports inside it what is slow."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app import __version__
from app.cli.failure import USAGE, Program
from app.cli.lazy_commands import LazyCommands

COMMAND_NAMES = (
    *("serve", "health", "doctor", "status", "purge", "probe", "dev"),
    *("sandbox", "token", "org", "caller", "policy", "keys", "cert", "secret", "audit", "incident"),
)
"""Commands and groups of commands, in the order of the help. Each is a module of this package."""

HELP_OPTIONS = {"help_option_names": ["--help", "-h"]}


class _AllCommands(Program):
    """The top-level command with all commands of the program, which are imported when they are needed."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = LazyCommands(__package__, COMMAND_NAMES)


app = typer.Typer(
    cls=_AllCommands,
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
