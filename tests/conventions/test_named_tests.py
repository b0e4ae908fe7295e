"""The documents that say which test shows a claim name tests and files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`((?:tests|app|docs)/[\w./-]+?)(?:::(\w+))?`")


@pytest.mark.parametrize("document", ["docs/threat-model.md", "docs/track-record.md"])
def test_each_named_test_exists(document: str) -> None:
    """Each file that the document names exists, and each test is defined in its file."""
    named = NAMED.findall((ROOT / document).read_text())
    assert named
    missing = [f"{path}::{test}" for path, test in named if not _is_defined(ROOT / path, test)]
    assert missing == []


def test_each_planted_bug_is_in_the_track_record() -> None:
    """The track record lists all bugs that the simulation plants, and no others."""
    source = (ROOT / "tests/simulation/test_planted_bugs.py").read_text()
    planted = set(re.findall(r"^def _(\w+)\(patch", source, re.MULTILINE))
    of_others = (ROOT / "docs/track-record.md").read_text().split("## Of this broker", maxsplit=1)[0]
    listed = {name for row in re.findall(r"^\|.*\|$", of_others, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert listed == planted


def _is_defined(path: Path, test: str) -> bool:
    return path.exists() and (not test or re.search(rf"def {test}\b", path.read_text()) is not None)
