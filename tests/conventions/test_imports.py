"""The import contracts of `pyproject.toml` are kept, and each of them can fail."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.repository import ROOT

LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")
CONTRACTS = {
    contract["id"]: contract["name"]
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}

VIOLATIONS = [
    ("domain/names.py", "import os", {"core-is-pure"}),
    ("domain/names.py", "import app.ports", {"layers"}),
    ("ports/cache_ports.py", "import time", {"core-is-pure"}),
    ("service/mint.py", "import redis", {"core-is-pure", "one-home-per-library"}),
    ("service/mint.py", "from app.adapters import prometheus", {"layers"}),
    ("service/backoff.py", "import app.service.vend", {"acyclic"}),
    ("api/token.py", "from app.adapters import prometheus", {"api-sees-no-adapter"}),
    ("api/token.py", "import hvac", {"one-home-per-library"}),
    ("api/token.py", "import app.bootstrap", {"layers", "acyclic"}),
    ("lifecycle/canary.py", "from app.adapters import vault", {"lifecycle-sees-no-adapter", "core-is-pure"}),
    ("lifecycle/canary.py", "import hvac", {"core-is-pure", "one-home-per-library"}),
    ("service/present.py", "import app.lifecycle.replace", {"layers"}),
    ("shared_cache/sealing.py", "import app.adapters.redis.client", {"layers"}),
    ("process/supervisor.py", "import app.shared_cache.key_ring", {"layers"}),
    ("sandbox/tokens.py", "import app.shared_cache.sealing", {"sandbox-stands-alone"}),
    ("bootstrap/minting.py", "import app.bootstrap.shared_cache", {"minting-alone"}),
    ("bootstrap/broker.py", "import prometheus_client", {"one-home-per-library"}),
    ("bootstrap/shared_cache.py", "import app.main", {"layers", "acyclic"}),
    ("adapters/directory/store.py", "from app.adapters import prometheus", {"adapters-independent"}),
    ("adapters/directory/store.py", "from app.service import mint", {"layers"}),
    ("adapters/prometheus/sink.py", "import jose", {"one-home-per-library"}),
    ("process/regular_file.py", "import httpx2", {"process-knows-no-system"}),
    ("process/own_threads.py", "import redis", {"process-knows-no-system", "one-home-per-library"}),
    ("process/renewed_file.py", "from app.adapters import prometheus", {"layers", "process-knows-no-system"}),
    ("process/renewed_file.py", "import app.process.regular_file", {"core-is-pure"}),
    ("sandbox/tokens.py", "import app.domain.names", {"sandbox-stands-alone"}),
    ("utils.py", "", {"layers"}),
]
"""A line appended to a module, or none for a new module; and the contracts that it breaks."""


def lint_imports(folder: Path) -> tuple[int, str]:
    """Exit code and output for the package `app` in a folder."""
    result = subprocess.run(
        [LINT_IMPORTS, "--no-cache", "--no-logo"], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    return result.returncode, result.stdout + result.stderr


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package and its contracts; tests that change it restore it."""
    folder = tmp_path_factory.mktemp("imports")
    shutil.copy(ROOT / "pyproject.toml", folder)
    shutil.copytree(ROOT / "app", folder / "app", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_every_contract_is_kept() -> None:
    """The unchanged package breaks no contract."""
    code, said = lint_imports(ROOT)

    assert code == 0, said
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken." in said


def test_an_untouched_copy_keeps_every_contract(copy: Path) -> None:
    """The violations below are caused by what the tests add, and by nothing else."""
    code, said = lint_imports(copy)

    assert code == 0, said


@pytest.mark.parametrize(
    ("module", "line", "contracts"), VIOLATIONS, ids=[f"{module}: {line or 'new'}" for module, line, _ in VIOLATIONS]
)
def test_a_violation_is_reported(copy: Path, module: str, line: str, contracts: set[str]) -> None:
    """One import in the wrong direction, or a module outside every layer, breaks the contracts that forbid it."""
    path = copy / "app" / module
    before = path.read_text() if line else None
    path.write_text(f"{before or ''}\n{line}\n")
    try:
        code, said = lint_imports(copy)
    finally:
        path.unlink() if before is None else path.write_text(before)

    assert code != 0
    for contract in contracts:
        assert f"{CONTRACTS[contract]} BROKEN" in said, said


def test_no_contract_is_left_untried() -> None:
    """Every contract is broken by at least one of the violations above, so none is without effect."""
    assert set().union(*(contracts for _, _, contracts in VIOLATIONS)) == set(CONTRACTS)
