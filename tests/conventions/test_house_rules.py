"""House rules that a linter does not know, as tests; `CONTRIBUTING.md` and `tests/README.md` describe them."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from typer.main import get_command

from app.cli.program import app
from tests.support.repository import ROOT

APP, TESTS = ROOT / "app", ROOT / "tests"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = {path.stem: path.read_text() for path in sorted((ROOT / "requirements").glob("*.lock"))}
MAKEFILE = (ROOT / "Makefile").read_text()
README, ARCHITECTURE = (ROOT / "README.md").read_text(), (APP / "ARCHITECTURE.md").read_text()

MAX_LINES, MAX_LINES_OF_A_DOOR, MEDIAN_LINES = 300, 220, 110
DOORS = [
    "app/adapters/server_certificate/*.py",
    "app/adapters/vault/session.py",
    "app/api/openapi.py",
    "app/api/problems.py",
    "app/bootstrap/*.py",
    "app/domain/credential.py",
    "app/domain/errors.py",
    "app/domain/events.py",
    "app/ports.py",
    "app/service/vend.py",
    "app/setting*.py",
]
"""The modules that most changes enter."""

ROOMLESS = {"utils", "util", "helpers", "helper", "common", "misc", "constants", "shared", "base", "core"}
"""Names that say only that the author did not know where the code belongs."""

READ_THE_ENVIRONMENT = {
    "app/settings.py",
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


def modules(folder: Path) -> list[Path]:
    """All Python modules below a folder."""
    found = sorted(folder.rglob("*.py"))
    assert found, folder
    return found


def named(path: Path) -> str:
    """A path, relative to the repository's root."""
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    """A module, parsed."""
    return ast.parse(path.read_text())


# Modules ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", modules(APP), ids=named)
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
    files = modules(APP) + modules(TESTS)
    names = {part for path in files for part in path.relative_to(ROOT).with_suffix("").parts}

    assert names & ROOMLESS == set()


@pytest.mark.parametrize("path", modules(APP), ids=named)
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


# Tests --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(TESTS.rglob("test_*.py")), ids=named)
def test_every_test_states_its_claim(path: Path) -> None:
    """Every test has a docstring that is a sentence."""
    silent = [
        node.name
        for node in ast.walk(tree_of(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.name.startswith("test_")
        and not (ast.get_docstring(node) or "").endswith(".")
    ]

    assert silent == []


def test_no_test_mocks() -> None:
    """Tests use fakes that honour the port's contract: nothing imports `unittest.mock`."""
    assert [named(path) for path in modules(TESTS) if "unittest" in _imported(tree_of(path))] == []


def _imported(tree: ast.Module) -> set[str]:
    """The top-level packages that a module imports, including inside functions."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def test_no_test_sleeps() -> None:
    """Tests wait for events, not for time to pass: only `tests/support` calls `time.sleep`."""
    outside = [path for path in modules(TESTS) if not path.is_relative_to(TESTS / "support")]
    calls = [(path, node.func) for path in outside for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]

    assert [place(path, function) for path, function in calls if ast.unparse(function) == "time.sleep"] == []
    assert [named(path) for path in outside if "sleep" in _from_time(tree_of(path))] == []


def _from_time(tree: ast.Module) -> set[str]:
    """The names that a module imports from `time`."""
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "time"]
    return {alias.name for node in imports for alias in node.names}


def test_a_missing_tool_is_skipped_in_one_way() -> None:
    """A test skips only through `skip_or_fail`, which fails in CI; `skipif` is for what another platform lacks."""
    outside = [path for path in modules(TESTS) if path != TESTS / "support" / "tools.py"]
    ways = {"pytest.skip", "pytest.importorskip", "pytest.mark.skip", "pytest.xfail"}
    names = [(path, node) for path in outside for node in ast.walk(tree_of(path)) if isinstance(node, ast.Attribute)]

    assert [place(path, node) for path, node in names if ast.unparse(node) in ways] == []


def place(path: Path, node: ast.expr) -> str:
    """A location in the form `path:line`, which editors open."""
    return f"{named(path)}:{node.lineno}"


# Dependencies -------------------------------------------------------------------------------------------------------

NEEDED = {
    "runtime": PROJECT["project"]["dependencies"],
    "otel": PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["otel"],
    "dev": PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"],
    "sbom": PROJECT["dependency-groups"]["sbom"],
    # hatchling requires editables for an editable install only.
    "build": [*PROJECT["build-system"]["requires"], "editables"],
}


def locked(lock: str) -> dict[str, list[tuple[Requirement, bool]]]:
    """What a lock file pins, by name, and whether it has a hash; a name may occur once per environment marker."""
    pins: dict[str, list[tuple[Requirement, bool]]] = {}
    lines = [
        line for line in lock.replace("\\\n", " ").splitlines() if line.strip() and not line.strip().startswith("#")
    ]
    for line in lines:
        requirement = Requirement(line.partition("--hash=")[0])
        hashed = re.search(r"--hash=sha256:[0-9a-f]{64}\b", line) is not None
        pins.setdefault(canonicalize_name(requirement.name), []).append((requirement, hashed))
    return pins


def test_every_kind_of_environment_has_a_lock_file() -> None:
    """There is a lock file each for the program, the program with tracing, tests, build and SBOM, and no other."""
    assert LOCKS.keys() == NEEDED.keys()


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_every_dependency_is_pinned_with_hashes(name: str) -> None:
    """A lock file pins one version of each package, with hashes, and the version is one that pyproject.toml accepts."""
    pins = locked(LOCKS[name])

    for pinned in pins.values():
        for requirement, hashed in pinned:
            assert [specifier.operator for specifier in requirement.specifier] == ["=="], requirement
            assert hashed, requirement
    for requirement in map(Requirement, NEEDED[name]):
        for pin, _ in pins[canonicalize_name(requirement.name)]:
            [specifier] = pin.specifier
            assert requirement.specifier.contains(Version(specifier.version), prereleases=True), requirement


def test_tests_run_what_is_shipped() -> None:
    """The tests' lock file pins the program's dependencies to the same versions as the program's own lock file."""
    runtime, dev = locked(LOCKS["runtime"]), locked(LOCKS["dev"])

    assert {name: _pins(dev[name]) for name in runtime} == {name: _pins(pinned) for name, pinned in runtime.items()}


def _pins(pinned: list[tuple[Requirement, bool]]) -> set[str]:
    return {f"{requirement.specifier}; {requirement.marker}" for requirement, _ in pinned}


@pytest.mark.parametrize("name", sorted(LOCKS))
def test_no_lock_file_names_a_registry(name: str) -> None:
    """The installer decides where packages come from: a lock file has no URL and no index option."""
    assert re.findall(r"://|--(?:extra-)?index-url|--find-links|--trusted-host|-i ", LOCKS[name]) == []


# Make ---------------------------------------------------------------------------------------------------------------


def test_make_lists_every_target() -> None:
    """Plain `make` lists exactly the phony targets, and each of them says what it does."""
    phony = {name for line in re.findall(r"^\.PHONY:(.*)$", MAKEFILE, re.MULTILINE) for name in line.split()}
    explained = set(re.findall(r"^([^\s:#=.$]+):(?!=).*## \S", MAKEFILE, re.MULTILINE))
    # Run as if typed by a person: without the variables that an outer make passes to its children.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    said = subprocess.run(["make"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    listed = re.findall(r"^make (\S+) +\S", said, re.MULTILINE)

    assert sorted(listed) == sorted(phony)
    assert explained == phony


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "benchmarks/README.md", "tests/README.md"])
def test_documents_name_targets_that_exist(document: str) -> None:
    """Every `make …` in a document is a target."""
    named_there = set(re.findall(r"(?:^|`)make ([a-z-]+)", (ROOT / document).read_text(), re.MULTILINE))

    assert named_there <= set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


# The command line ---------------------------------------------------------------------------------------------------


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
    runnable = {words for words, command in commands().items() if words and not getattr(command, "commands", {})}
    section = README.partition("## Command line\n")[2].partition("\n## ")[0]
    tabled = {_words(cell) for row in re.findall(r"^\| (`.+?) \|", section, re.MULTILINE) for cell in row.split(" · ")}
    used = {_words(line) for line in re.findall(r"ims-token-broker ([a-z].*)", README)}

    assert tabled == runnable
    assert used <= runnable


def _words(line: str) -> str:
    """The command at the beginning of a command line."""
    known = commands()
    words = ""
    for word in re.findall(r"[a-z-]+|\S", line.strip("`")):
        if f"{words} {word}".strip() not in known:
            break
        words = f"{words} {word}".strip()
    return words


# Documents ----------------------------------------------------------------------------------------------------------


def test_the_architecture_names_modules_that_exist() -> None:
    """Every module that app/ARCHITECTURE.md names exists, except under its extension points."""
    text, planned, _ = ARCHITECTURE.partition("\n## Extension points\n")
    assert planned
    packages = "|".join(sorted(path.name for path in APP.iterdir() if (path / "__init__.py").exists()))
    spoken_of = set(re.findall(rf"\b(?:app/)?((?:{packages})/\w+(?:/\w+)*|\w+\.py)\b", text))
    assert len(spoken_of) > 10

    assert [name for name in sorted(spoken_of) if not _exists(name.removesuffix(".py"))] == []


def _exists(name: str) -> bool:
    return (APP / f"{name}.py").exists() or (APP / name / "__init__.py").exists()


DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for top in (ROOT, *(ROOT / name for name in ("app", "benchmarks", "deploy", "docs", "tests")))
    for path in (top.glob("*.md") if top == ROOT else top.rglob("*.md"))
)
"""All documents for people."""


def anchors(document: Path) -> set[str]:
    """The anchors of a document: its headings, as GitHub names them."""
    headings = re.findall(r"^#+ +(.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    """Every link from a document to a file of this repository, or to a heading in one, has a target."""
    here = ROOT / document
    for target, anchor in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)", here.read_text()):
        there = (here.parent / target).resolve() if target else here
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), f"{target}#{anchor}"


def test_each_suite_has_its_row() -> None:
    """The table of `tests/README.md` has exactly the folders that have tests."""
    rows = re.findall(r"^\| `(\w+)/` \|", (ROOT / "tests" / "README.md").read_text(), re.MULTILINE)
    suites = {path.relative_to(ROOT / "tests").parts[0] for path in (ROOT / "tests").rglob("test_*.py")}

    assert sorted(rows) == sorted(suites)


def test_contributing_names_every_package() -> None:
    """`CONTRIBUTING.md` names every package that CI installs for the tests, except `make`, which readers have."""
    [packages] = re.findall(r"apt-get install -y.*\n(.*) >", (ROOT / ".ci" / "run").read_text())
    documented = (ROOT / "CONTRIBUTING.md").read_text().split()

    assert [name for name in packages.split() if name not in {"make", *documented}] == []


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "tests/README.md"])
def test_documents_name_files_that_exist(document: str) -> None:
    """Every file of this repository that a document names in backticks exists."""
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()}
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    tracked = "|".join(sorted(folders - ignored))
    text = (ROOT / document).read_text()
    files = set(re.findall(rf"`((?:{tracked})/[\w./-]*|[A-Z]+\.md|pyproject\.toml)`", text))

    assert [name for name in sorted(files) if not (ROOT / name).exists()] == []
