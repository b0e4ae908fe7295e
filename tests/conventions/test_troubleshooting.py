"""docs/troubleshooting.md quotes the program: each sentence is in the code, and a test produces it."""

from __future__ import annotations

import ast
import re

import pytest

from tests.support.repository import ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
SENTENCES = re.findall(r"^\| `([^`]+)` \| [^|]+ \| [^|]+ \|$", PAGE, re.MULTILINE)
HERE = "test_troubleshooting.py"


def texts(folder: str) -> list[str]:
    """All string constants of the modules below a folder; parts that the parser joins are one text."""
    return [
        node.value
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path.name != HERE
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


PROGRAM = "\n".join(texts("app"))
TESTS = texts("tests")


def test_each_row_has_a_sentence() -> None:
    """Every row of every table begins with a sentence in code quotes."""
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| sentence ")]

    assert len(SENTENCES) == len(rows) > 40
    assert len(set(SENTENCES)) == len(SENTENCES)


@pytest.mark.parametrize("sentence", SENTENCES)
def test_the_program_says_it(sentence: str) -> None:
    """The sentence is part of the program's own text."""
    assert sentence.replace("BROKER_PORT?", "") in PROGRAM


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_test_produces_it(sentence: str) -> None:
    """A test expects the sentence, or a part of it of at least 15 characters."""
    words = sentence.split()
    parts = {
        part
        for begin in range(len(words))
        for end in range(begin + 1, len(words) + 1)
        if len(part := " ".join(words[begin:end]).rstrip(",;.:")) >= 15 or part == sentence
    }
    assert any(part in text for part in parts for text in TESTS)
