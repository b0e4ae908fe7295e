"""House rules for documents: modules, links, files, suites and packages that they name exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.support.repository import DOCUMENTS, ROOT

APP, TESTS = ROOT / "app", ROOT / "tests"

README, ARCHITECTURE = (ROOT / "README.md").read_text(), (APP / "ARCHITECTURE.md").read_text()

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

MAKEFILE = (ROOT / "Makefile").read_text()


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
