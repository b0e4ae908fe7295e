"""The Dockerfile as a linter reads it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.repository import ROOT
from tests.support.tools import skip_or_fail


def test_the_linter_finds_nothing() -> None:
    """Hadolint has nothing to say about the Dockerfile, with no rule switched off."""
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if program is None:
        skip_or_fail("hadolint is missing; the tests' environment brings it for Linux on x86-64")
    linted = subprocess.run([program, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert (linted.returncode, linted.stdout) == (0, ""), linted.stdout + linted.stderr
    assert not list(ROOT.glob(".hadolint.*"))
    assert "hadolint" not in (ROOT / "Dockerfile").read_text()
