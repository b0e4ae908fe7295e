"""How a command fails: with one sentence on standard error and an exit status, never with a traceback."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException
from typing_extensions import override

FAILED = 1
"""Exit status: the command line was valid, but what it checks is wrong, or the command did not succeed."""

USAGE = 2
"""Exit status: the command line or a setting is wrong, or a file given to it is missing or cannot be used."""

INTERNAL = 70
"""Exit status: an error of the program itself, which says nothing about what it checks; EX_SOFTWARE of sysexits(3)."""

INTERRUPTED = 130
"""Exit status: stopped by Ctrl-C."""


class CommandError(TyperException):
    """A command failed.

    Args:
        sentence: What is wrong, for a person. Never contains a secret.
        exit_code: `FAILED` or `USAGE`.

    """

    def __init__(self, sentence: str, exit_code: int = FAILED) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


class Program(TyperGroup):
    """The top-level command, which turns every failure into one sentence."""

    @override
    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command line and end the process with its exit status."""
        extra["standalone_mode"] = False
        try:
            code = super().main(*args, **extra)
        except TyperException as error:
            # Usage errors carry their exit status on a class that Typer does not export.
            _leave(_sentence(error), getattr(error, "exit_code", FAILED))
        except typer.Abort as error:
            # A question was not answered: its input ended, or Ctrl-C was pressed.
            if isinstance(error.__context__, KeyboardInterrupt):
                sys.exit(INTERRUPTED)
            _leave("Aborted.", FAILED)
        except Exception as error:  # noqa: BLE001  # the last resort: a traceback may quote a secret
            _leave(f"Internal error: {type(error).__name__} at {_place(error)}. Please report it.", INTERNAL)
        else:
            sys.exit(code)


def _sentence(error: TyperException) -> str:
    message = " ".join(error.format_message().split())
    context = getattr(error, "ctx", None)
    if context is None:
        return message
    return f"{message.rstrip('.?')}. Try '{context.command_path} --help'."


def _place(error: Exception) -> str:
    """File and line where `error` was raised; its message is left out on purpose."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"


def _leave(sentence: str, code: int) -> None:
    typer.echo(f"Error: {sentence}", err=True)
    sys.exit(code)
