"""The documents agree with the code."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from typer.main import get_command

from app.api.problems import PROBLEMS
from app.cli.program import app
from app.settings.setting_errors import PREFIX
from app.settings.settings import variables
from tests.support.readme import between, errors_table, metrics_table, settings_table
from tests.support.repository import ROOT

README = (ROOT / "README.md").read_text()

FIXED_NAMES = [
    "HOST",
    "PORT",
    "POLICY_FILE",
    "CREDENTIAL_STORE",
    "CREDENTIAL_DIR",
    "VAULT_ADDR",
    "VAULT_AUTH",
    "VAULT_TOKEN",
    "VAULT_TOKEN_FILE",
    "VAULT_ROLE_ID",
    "VAULT_SECRET_ID",
    "VAULT_ROLE",
    "VAULT_MOUNT",
    "VAULT_PREFIX",
    "VAULT_TRANSIT_MOUNT",
    "VAULT_CACERT",
    "VAULT_NAMESPACE",
    "REDIS_URL",
    "REDIS_CACERT",
    "CACHE_KEYS_FILE",
    "IMS_BASE_URLS",
    "AUDIT_FILE",
    "LOG_LEVEL",
]
"""The settings whose names are a contract with other people's charts."""


def test_the_readme_has_the_table_of_settings() -> None:
    """The README's settings are exactly those of the code; `python -m tests.support.readme` writes the table."""
    assert between("settings") == settings_table(), "stale: run `python -m tests.support.readme`"


def test_no_fixed_name_is_missing() -> None:
    """Every variable of the contract exists."""
    assert {PREFIX + name for name in FIXED_NAMES} <= set(variables())


def test_the_readme_has_the_table_of_error_codes() -> None:
    """The README has every code with its status and meaning; `python -m tests.support.readme` writes the table."""
    assert all(problem.meaning for problem in PROBLEMS.values())
    assert between("errors") == errors_table(), "stale: run `python -m tests.support.readme`"


def test_the_readme_has_the_table_of_metrics() -> None:
    """The README's metrics are exactly those of the code; `python -m tests.support.readme` writes the table."""
    assert between("metrics") == metrics_table(), "stale: run `python -m tests.support.readme`"


def test_every_command_is_in_the_readme() -> None:
    """The README's table of commands names every command group."""
    command = get_command(app)
    for name in getattr(command, "commands"):  # noqa: B009  # typer types it as a plain command
        assert f"| `{name}" in README, name


@pytest.mark.parametrize("pattern", [r"/(work|farm|root)/", r"/tmp/[a-z]", r"/home/[a-z]+/"])
def test_no_committed_file_has_a_path_of_a_machine(pattern: str) -> None:
    """No path from a developer's machine is committed."""
    found = subprocess.run(
        [
            "git",
            "grep",
            "-nIE",
            pattern,
            "--",
            ".",
            ":!*.lock",
            ":!Dockerfile",
            f":!{Path(__file__).relative_to(ROOT)}",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert found.stdout == ""
