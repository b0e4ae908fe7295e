"""Documents that code, tests and configuration cite are in this repository."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
from pathlib import Path

import pytest

from tests.support.repository import ROOT

CITING = ("app", "clients", "tests", "benchmarks", "deploy", "Makefile", "Dockerfile", "pyproject.toml")
"""The files that are read here; links in documents have a test of their own."""

DOCUMENT = re.compile(r"(?<![\w/.:-])((?:[\w.-]+/)*[\w-]+\.md)\b")
"""The path of a document; not the end of a URL."""

SECTION = re.compile(r"\b(docs/(?:contract|ims)\.md) sections? (\d+(?:\.\d+)?(?:(?:, | and )\d+(?:\.\d+)?)*)")
OUTSIDE = re.compile(r"\bproduct sections? \d|(?<!docs/)\b(?:ims|contract|product|reliability)\.md\b")
"""The names under which documents outside this repository were cited."""


def files() -> list[Path]:
    """Every tracked text file that may cite a document."""
    listed = subprocess.run(["git", "ls-files", *CITING], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    suffixes = {"", ".py", ".yaml", ".tpl", ".txt", ".toml", ".json"}
    paths = [ROOT / name for name in listed.splitlines()]
    return [path for path in paths if path.suffix in suffixes and path.is_file() and path != Path(__file__)]


def prose(path: Path) -> str:
    """The text that people read: comments and docstrings of a Python file, all of any other file."""
    text = path.read_text(errors="replace")
    if path.suffix != ".py":
        return text
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = [token.string for token in tokens if token.type == tokenize.COMMENT]
    return "\n".join(comments + docstrings(text))


def docstrings(source: str) -> list[str]:
    """Every string that is a statement: of a module, a class, a function or an attribute."""
    expressions = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Expr))
    values = (node.value for node in expressions if isinstance(node, ast.Constant))
    return [value for value in values if isinstance(value, str)]


def sections(document: Path) -> set[str]:
    """The numbers of a document's headings."""
    return set(re.findall(r"^#{2,3} (\d+(?:\.\d+)?)\.? ", document.read_text(), re.MULTILINE))


def broken_citations(prose: str, folder: Path) -> list[str]:
    """Citations in a text that lead nowhere; a path is relative to the repository's root or to `folder`."""
    paths = {name for name in DOCUMENT.findall(prose) if not (ROOT / name).exists() and not (folder / name).exists()}
    numbered = [(name, number) for name, numbers in SECTION.findall(prose) for number in re.split(r", | and ", numbers)]
    missing = {f"{name} section {number}" for name, number in numbered if number not in sections(ROOT / name)}
    return sorted(paths | missing | set(OUTSIDE.findall(prose)))


def test_citations_lead_somewhere() -> None:
    """Every document and section that a comment or docstring cites exists."""
    broken = {str(path.relative_to(ROOT)): broken_citations(prose(path), path.parent) for path in files()}

    assert len(broken) > 300
    assert {name: citations for name, citations in broken.items() if citations} == {}


@pytest.mark.parametrize(
    ("prose", "broken"),
    [
        ("See docs/contract.md section 9 and docs/ims.md sections 1.5, 1.6 and 3.5.", []),
        ("See docs/contract.md section 99.", ["docs/contract.md section 99"]),
        ("See docs/ims.md sections 1.4 and 7.7.", ["docs/ims.md section 7.7"]),
        ("See `docs/nowhere.md`.", ["docs/nowhere.md"]),
        ("What IMS says (`ims.md` 1.5).", ["ims.md", "ims.md"]),
        ("Within 15 s (product section 9).", ["product section 9"]),
        ("Read https://wiki.example/RUNBOOK.md first.", []),
    ],
)
def test_a_broken_citation_is_found(prose: str, broken: list[str]) -> None:
    """A missing document, a missing section and a document outside the repository are each reported."""
    assert broken_citations(prose, ROOT) == sorted(set(broken))


def test_both_documents_number_their_sections() -> None:
    """The numbers that code cites are headings of the contract and of the facts about IMS."""
    assert sections(ROOT / "docs/contract.md") >= {str(number) for number in range(1, 10)}
    assert sections(ROOT / "docs/ims.md") >= {"1.1", "1.6", "3.6", "4.2", "8"}
