"""The real promtool: rules, their tests, expressions and metrics are judged by Prometheus's own code."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import yaml

from tests.support.tools import skip_or_fail

_DEADLINE = 60.0


def program(name: str) -> str:
    """``prometheus`` or ``promtool`` on PATH; skips the test if it is missing, and fails it in CI."""
    path = shutil.which(name)
    if path is None:
        skip_or_fail(f"{name} is missing; Debian has it in the package prometheus")
    return path


def promtool(*arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[str]:
    """Run it; both streams are in ``stdout``."""
    done = subprocess.run(
        [program("promtool"), *arguments],
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_DEADLINE,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode())


def complaints(expressions: Sequence[str], folder: Path) -> str:
    """What promtool says of PromQL expressions that it cannot parse; empty if it can parse all."""
    rules = [{"record": f"expression:{number}", "expr": text} for number, text in enumerate(expressions)]
    file = folder / "expressions.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "expressions", "rules": rules}]}))
    done = promtool("check", "rules", str(file))
    return "" if done.returncode == 0 else done.stdout
