"""The outermost command."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from app import __version__
from app.cli.failure import CommandError, Program
from app.cli.program import app

COMMANDS = ["serve", "dev", "sandbox", "token get", "caller create", "policy check", "keys create", "cert create"]


def _program(error: BaseException) -> typer.Typer:
    program = typer.Typer(cls=Program, rich_markup_mode=None)

    @program.command("a")
    def fails() -> None:
        raise error

    @program.command("b")
    def works() -> None:
        pass

    return program


def test_version_prints_name_and_version() -> None:
    """--version prints name and version."""
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"ims-token-broker {__version__}\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    """Every command has a help text, and so does each option."""
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")
    lines = result.stdout.split("Options:\n")[1].splitlines()
    described = [line for line in lines if line.startswith("  -")]
    assert described
    assert all(len(line.split()) > 2 for line in described)


def test_without_a_command_the_help_is_shown() -> None:
    """Without a command the help is shown, with the exit code of a usage error."""
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 2
    assert all(command.split()[0] in result.stderr for command in COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [["polic"], ["policy"], ["policy", "check"], ["keys", "create", "--jsn"], ["dev", "--port", "x"], ["token", "get"]],
)
def test_usage_errors_are_one_sentence(arguments: list[str]) -> None:
    """A wrong command line gives exit code 2 and one line that says how to get help."""
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("Error: ")
    assert "--help'." in result.stderr


def test_a_commands_error_is_one_sentence() -> None:
    """A command's own error gives its sentence and its exit code."""
    result = CliRunner().invoke(_program(CommandError("It broke.", 7)), ["a"])
    assert (result.exit_code, result.stdout, result.stderr) == (7, "", "Error: It broke.\n")


def test_unexpected_errors_do_not_show_their_text() -> None:
    """An unforeseen error shows its type and place, never its text, which may be secret; its exit code is its own."""
    result = CliRunner().invoke(_program(RuntimeError("hunter2")), ["a"])
    assert result.exit_code == 70
    assert "hunter2" not in result.output
    assert "Traceback" not in result.output
    assert result.stderr.startswith("Error: Internal error: RuntimeError at test_program.py:")


def test_ctrl_c_is_not_an_internal_error() -> None:
    """Ctrl-C ends a command with the exit code of that signal, and without a message."""
    result = CliRunner().invoke(_program(KeyboardInterrupt()), ["a"])
    assert (result.exit_code, result.output) == (130, "")


def test_a_successful_command_gives_0() -> None:
    """A command that returns gives exit code 0."""
    assert CliRunner().invoke(_program(RuntimeError()), ["b"]).exit_code == 0
