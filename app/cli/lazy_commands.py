"""Commands that are imported when they are needed: each has libraries of its own, and ``serve`` must start fast."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping
from importlib import import_module
from typing import TYPE_CHECKING

import typer
from typer.main import get_group
from typing_extensions import override

if TYPE_CHECKING:
    from typer._click import Command


class LazyCommands(MutableMapping[str, "Command"]):
    """Commands by name. One is imported and built when it is first looked up.

    Args:
        package: The package of the commands.
        names: Their names, in the order of the help. Each is a module of the package, which has a function of that
            name, or for a group of commands a `typer.Typer` with the name ``app``.

    """

    def __init__(self, package: str, names: Iterable[str]) -> None:
        self._package = package
        self._commands: dict[str, Command | None] = dict.fromkeys(names)

    @override
    def __getitem__(self, name: str) -> Command:
        command = self._commands[name]
        if command is None:
            command = self._commands[name] = _built(f"{self._package}.{name}", name)
        return command

    @override
    def __setitem__(self, name: str, command: Command) -> None:
        self._commands[name] = command

    @override
    def __delitem__(self, name: str) -> None:
        del self._commands[name]

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._commands)

    @override
    def __len__(self) -> int:
        return len(self._commands)


def _built(module_name: str, name: str) -> Command:
    module = import_module(module_name)
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    group = getattr(module, "app", None)
    if isinstance(group, typer.Typer):
        alone.add_typer(group)
    else:
        alone.command(name)(getattr(module, name))
    return get_group(alone).commands[name]
