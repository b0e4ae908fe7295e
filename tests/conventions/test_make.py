"""House rules for the Makefile: its help lists every target, and documents name targets that exist."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from tests.support.repository import DOCUMENTS, ROOT

MAKEFILE = (ROOT / "Makefile").read_text()


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


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_name_targets_that_exist(document: str) -> None:
    """Every `make …` in a document is a target."""
    named_there = set(re.findall(r"(?:^[ \t]*|`|&& )make ([a-z-]+)", (ROOT / document).read_text(), re.MULTILINE))

    assert named_there <= set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
