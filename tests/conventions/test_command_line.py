"""House rules for the command line: every command explains itself, and the README names commands that exist."""

from __future__ import annotations

import re
import tomllib

import pytest
from typer.main import get_command

from app.cli.program import app
from tests.support.repository import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

README = (ROOT / "README.md").read_text()


def commands() -> dict[str, object]:
    """Every command and group, by its words; the program itself is the empty string."""
    found: dict[str, object] = {}
    waiting: list[tuple[str, object]] = [("", get_command(app))]
    for words, command in waiting:
        found[words] = command
        waiting += [(f"{words} {name}".strip(), child) for name, child in getattr(command, "commands", {}).items()]
    return found


@pytest.mark.parametrize("words", sorted(commands()))
def test_every_command_explains_itself(words: str) -> None:
    """Each command, argument and option has a help text of its own."""
    command = commands()[words]

    assert (getattr(command, "help", None) or "").strip()
    for parameter in getattr(command, "params"):  # noqa: B009  # typer types it as a plain object
        assert (getattr(parameter, "help", None) or "").strip(), parameter.name


def test_the_readme_names_commands_that_exist() -> None:
    """Every command in the README's table and examples exists, and the table has all commands."""
    runnable = {words for words, command in commands().items() if words and _runs(command)}
    section = README.partition("## Command line\n")[2].partition("\n## ")[0]
    tabled = {_words(cell) for row in re.findall(r"^\| (`.+?) \|", section, re.MULTILINE) for cell in row.split(" · ")}
    used = {_words(line) for line in re.findall(r"ims-token-broker ([a-z].*)", README)}

    assert tabled == runnable
    assert used <= runnable


def _runs(command: object) -> bool:
    """Whether it is a command, or a group that does something without one."""
    return not getattr(command, "commands", {}) or bool(getattr(command, "invoke_without_command", False))


def _words(line: str) -> str:
    """The command at the beginning of a command line."""
    known = commands()
    words = ""
    for word in re.findall(r"[a-z-]+|\S", line.strip("`")):
        if f"{words} {word}".strip() not in known:
            break
        words = f"{words} {word}".strip()
    return words
