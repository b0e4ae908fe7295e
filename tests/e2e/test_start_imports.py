"""What ``serve`` imports before it is ready: importing is most of its start."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.children import free_port
from tests.support.processes import CLI, running_cli

POLICY = "version: 1\ncallers: []\n"
DIRECTORY = {"BROKER_CREDENTIAL_STORE": "directory", "BROKER_CREDENTIAL_DIR": "."}
VAULT = {"BROKER_VAULT_ADDR": "http://127.0.0.1:1", "BROKER_VAULT_AUTH": "token", "BROKER_VAULT_TOKEN": "unused"}

NEVER = frozenset(
    {
        *("botocore", "rich", "rich.console", "jsonschema", "hypothesis", "opentelemetry.exporter"),
        *("app.sandbox", "app.lifecycle", "app.audit", "app.bootstrap.diagnosis"),
        *("app.cli.dev", "app.cli.org", "app.cli.policy", "app.cli.status", "app.cli.incident"),
    }
)
"""What no setting of these tests needs."""

VAULTS = frozenset({"hvac", "requests", "urllib3"})
REDIS_ONLY = frozenset({"redis", "opentelemetry.sdk"})


@pytest.mark.parametrize(
    ("store", "unneeded"),
    [(DIRECTORY, NEVER | VAULTS | REDIS_ONLY), (VAULT, NEVER | REDIS_ONLY)],
    ids=["files", "Vault"],
)
async def test_serve_imports_only_what_its_settings_need(
    tmp_path: Path, store: dict[str, str], unneeded: frozenset[str]
) -> None:
    """Until it is ready, ``serve`` imports no client of a system that it does not use, and no other command."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    env = {**store, "BROKER_PORT": str(free_port()), "BROKER_HOST": "127.0.0.1", "BROKER_POLICY_FILE": "policy.yaml"}
    program = (CLI[0], "-X", "importtime", *CLI[1:])

    async with running_cli("serve", env=env, cwd=tmp_path, program=program) as broker:
        await broker.said("listening on ", stream="stderr")
        imported = {line.rpartition("|")[2].strip() for line in broker.stderr.lines if line.startswith("import time:")}

    assert "app.main" in imported
    assert imported & unneeded == set()


async def test_serve_collects_no_garbage_while_it_imports(tmp_path: Path) -> None:
    """Until it is ready, ``serve`` makes no full garbage collection: imports make many objects, which all stay."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    env = {
        **DIRECTORY,
        "BROKER_PORT": str(free_port()),
        "BROKER_HOST": "127.0.0.1",
        "BROKER_POLICY_FILE": "policy.yaml",
    }
    traced = "import gc; gc.set_debug(gc.DEBUG_STATS); from app.cli.__main__ import main; main()"

    async with running_cli("serve", env=env, cwd=tmp_path, program=(CLI[0], "-c", traced)) as broker:
        await broker.said("listening on ", stream="stderr")
        full = [line for line in broker.stderr.lines if line.startswith("gc: collecting generation 2")]

    assert full == []
