"""All texts are plain English: phrases that no native engineer writes or searches for are refused."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.repository import ROOT

DOCUMENTS = ("*.md", "deploy", "Makefile", "Dockerfile", ".ci", "pyproject.toml")
"""Files that are read whole, as Git path patterns; `*.md` matches in every folder."""

CODE = ("app", "benchmarks", "clients/python", "deploy/image", "tests")
"""Folders whose modules are read whole."""

THIS_MODULE = Path(__file__).resolve()
"""Quotes the refused phrases."""

TEST_NAME = re.compile(r"\bdef test_\w+")
"""The name of a test is a sentence, too."""

REFUSED = {
    r"(?:can|could|cannot|to) be had\b": "available, unavailable",
    r"(?<!there )\bis no (?!longer\b|more than\b)[a-z]": "is not a",
    r"\banew\b": "again",
    r"\bfor ever\b": "forever, until …",
    r"\b(?:is|are|was|were|be) told\b(?! to\b)": "reported, logged, exposed; told apart: distinguished",
    r"\b(?:nobody|somebody|anybody|everybody)\b": "no one, someone, or the name of the actor",
    r"\balike\b": "the same",
    r"\bseldom\b": "less often",
    r"\bmends?\b|\bmended\b": "fix",
    r"\bthus\b|\bhence\b|\bwhence\b|\bwhereof\b|\btherein\b": "so",
    r"\bbut for\b": "except",
    r"\bbeside\b": "next to, besides",
    r"\bleft alone\b": "back off",
    r"\bwhere (?:there (?:is|are)|(?:it|that) has)\b": "if",
    r"\bbe it\b": "even",
    r"\bof which\b": "a sentence of its own",
    r"\bas it is now\b|\bas they stand\b": "unchanged, current",
    r"\bwarm way\b|\blong way\b|\bway of a request\b": "path",
    r"\bin hand\b": "cached, in memory",
    r"\bgoes on with\b|\bgo on with\b": "keeps using",
}
"""Each phrase, and the words to use instead."""

EXEMPT: tuple[str, ...] = ()
"""Documents that quote other people's words."""


def documents() -> list[Path]:
    """Every document and configuration file that people read."""
    suffixes = {"", ".md", ".yaml", ".tpl", ".txt", ".toml", ".json"}
    listed = subprocess.run(
        ["git", "ls-files", *DOCUMENTS], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [ROOT / name for name in listed.splitlines() if Path(name).suffix in suffixes and name not in EXEMPT]


GENERATED = re.compile(r"^\| `(?:BROKER|ims_token_broker)_\w+` \|.*$", re.MULTILINE)
"""Rows of tables that are made from descriptions in the code."""

FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
"""Commands, configuration and output in a document."""


def sentences(path: Path) -> str:
    """The prose of a file, each run of white space as one space."""
    text = path.read_text()
    if path.suffix == ".md":
        text = FENCED.sub("", GENERATED.sub("", text))
    if path.suffix == ".py":
        text = TEST_NAME.sub(lambda name: name[0].replace("_", " "), text)
    return re.sub(r"\s+", " ", text)


def found(text: str) -> list[str]:
    """Each refused phrase in a text, with the words around it and the words to use."""
    return [
        f"…{text[max(0, match.start() - 40) : match.end() + 20]}…: write {words}"
        for pattern, words in REFUSED.items()
        for match in re.finditer(pattern, text, re.IGNORECASE)
    ]


def code() -> list[Path]:
    """The modules of the folders in `CODE`."""
    places = [ROOT / name for name in CODE]
    paths = [path for place in places for path in (sorted(place.rglob("*.py")) if place.is_dir() else [place])]
    return [path for path in paths if path != THIS_MODULE]


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_are_plain_english(path: Path) -> None:
    """No document, value, message of the chart or build file has a refused phrase."""
    assert found(sentences(path)) == []


def test_code_is_plain_english() -> None:
    """No module has a refused phrase in a comment, docstring, message or test name."""
    phrases = {str(path.relative_to(ROOT)): found(sentences(path)) for path in code()}

    assert len(phrases) > 30
    assert {name: wrong for name, wrong in phrases.items() if wrong} == {}


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("The keys cannot be had at present.", True),
        ("The keys are unavailable.", False),
        ("This is no Kubernetes cluster.", True),
        ("There is no refresh token, and it is no longer needed.", False),
        ("Read anew when it changes.", True),
        ("The caller is told by a metric.", True),
        ("The pod is told to stop.", False),
        ("Nobody gets a token.", True),
        ("All but for the request id.", True),
    ],
)
def test_a_phrase_is_found(text: str, refused: bool) -> None:
    """A refused phrase is found, and similar good English is not."""
    assert bool(found(text)) is refused
