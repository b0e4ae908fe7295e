"""House rules for the modules of `app`: size, names, no mutable globals, and where the environment is read."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

from tests.support.repository import ROOT, modules, named, tree_of

APP, TESTS, CLIENT = ROOT / "app", ROOT / "tests", ROOT / "clients" / "python"

MAX_LINES, MAX_LINES_OF_A_DOOR, MEDIAN_LINES = 300, 220, 110

DOORS = [
    "app/adapters/server_certificate/*.py",
    "app/adapters/vault/session.py",
    "app/api/openapi.py",
    "app/api/problems.py",
    "app/bootstrap/*.py",
    "app/domain/credential.py",
    "app/domain/*errors.py",
    "app/domain/events/*.py",
    "app/ports/*.py",
    "app/service/vend.py",
    "app/settings/*.py",
]
"""The modules that most changes enter."""

ROOMLESS = {"utils", "util", "helpers", "helper", "common", "misc", "constants", "shared", "base", "core"}
"""Names that say only that the author did not know where the code belongs."""

READ_THE_ENVIRONMENT = {
    "app/settings/settings.py",
    "app/cli/broker_client.py",  # the API key of a client on the command line, which is not a setting of the broker
}

MADE_ONCE = {
    "logging.getLogger",  # loggers are global by nature
    "typer.Typer",  # a command group is declared once, and decorators add to it while the module is imported
}
"""Constructors of objects that a module may keep in lower case."""

PER_THREAD = {"app/adapters/vault/threads.py": "_current"}
"""`threading.local` objects: each thread sees its own."""

MUTATORS = frozenset(
    "append extend insert remove pop clear update setdefault popitem add discard sort reverse".split()  # noqa: SIM905
)


@pytest.mark.parametrize("path", modules(APP) + modules(CLIENT), ids=named)
def test_no_module_is_too_long_to_read(path: Path) -> None:
    """No module has more than 300 lines."""
    assert len(path.read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", sorted(path for door in DOORS for path in ROOT.glob(door)), ids=named)
def test_a_module_that_most_changes_enter_has_room(path: Path) -> None:
    """A module that most changes enter has at most 220 lines, so that a change does not begin with a split."""
    assert len(path.read_text().splitlines()) <= MAX_LINES_OF_A_DOOR


def test_every_door_is_there() -> None:
    """Each name in the list of doors still matches a module."""
    assert [door for door in DOORS if not list(ROOT.glob(door))] == []


def test_most_modules_are_short() -> None:
    """Half of the modules have at most 110 lines."""
    assert median(len(path.read_text().splitlines()) for path in modules(APP)) <= MEDIAN_LINES


def test_every_module_is_named_for_its_content() -> None:
    """No module or package is called utils, helpers, common or the like."""
    files = modules(APP) + modules(TESTS) + modules(CLIENT)
    names = {part for path in files for part in path.relative_to(ROOT).with_suffix("").parts}

    assert names & ROOMLESS == set()


@pytest.mark.parametrize("path", modules(APP) + modules(CLIENT / "src"), ids=named)
def test_no_module_keeps_what_changes(path: Path) -> None:
    """Module level holds constants only: no lower-case variables, no `global`, no constant that is mutated."""
    allowed = {PER_THREAD.get(named(path))}

    assert [name for name in _variables(tree_of(path)) if name not in allowed] == []
    assert list(_mutations(tree_of(path))) == []


def test_every_exception_for_a_thread_is_one() -> None:
    """Each exempt thread-local object still exists and really is one."""
    for file, name in PER_THREAD.items():
        tree = tree_of(ROOT / file)
        [made] = [value for target, value in _assigned(tree) if target == name]
        classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        assert isinstance(made, ast.Call)
        assert [ast.unparse(base) for base in classes[ast.unparse(made.func)].bases] == ["threading.local"]


def _assigned(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Names and values of the assignments at module level, including those inside `if` and `try`."""
    for statement in _own_statements(tree):
        match statement:
            case ast.Assign(targets=targets, value=value):
                bound: list[ast.expr] = targets
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                bound = [target]
            case _:
                continue
        for name in bound:
            yield from ((node.id, value) for node in ast.walk(name) if isinstance(node, ast.Name))


def _own_statements(node: ast.AST) -> Iterator[ast.AST]:
    """The code that runs when the module is imported: everything outside functions and classes."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            yield child
            yield from _own_statements(child)


def _variables(tree: ast.Module) -> Iterator[str]:
    """Lower-case names that module level binds, except those that are created once and kept."""
    for name, value in _assigned(tree):
        if re.fullmatch(r"__\w+__", name) or not re.match(r"_*[a-z]", name):
            continue
        if not (isinstance(value, ast.Call) and ast.unparse(value.func) in MADE_ONCE):
            yield name


def _mutations(tree: ast.Module) -> Iterator[str]:
    """The lines in which a module mutates one of its own module-level objects."""
    held = {name for name, _ in _assigned(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Global) or _changed(node) in held:
            yield ast.unparse(node)


def _changed(node: ast.AST) -> str | None:
    """The name of the object that a statement or call mutates in place."""
    match node:
        case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
            return name
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr)) if attr in MUTATORS:
            return name
        case _:
            return None


def test_the_environment_is_read_in_one_place() -> None:
    """Only the settings and the command-line client read the environment."""
    readers = {named(path) for path in modules(APP) if _reads_the_environment(tree_of(path))}

    assert readers == READ_THE_ENVIRONMENT


def _reads_the_environment(tree: ast.Module) -> bool:
    names = {"environ", "environb", "getenv", "getenvb"}
    return any(
        (isinstance(node, ast.Attribute) and node.attr in names)
        or (isinstance(node, ast.ImportFrom) and node.module == "os" and bool(names & {a.name for a in node.names}))
        for node in ast.walk(tree)
    )
