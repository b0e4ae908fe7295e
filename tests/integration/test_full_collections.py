"""A whole broker leaves full garbage collections to `app.process.full_collections`."""

from __future__ import annotations

import gc
from pathlib import Path

from app.bootstrap.broker import assembled
from app.settings.settings import read_settings
from tests.support.waiting import until


async def test_a_running_broker_has_frozen_its_old_objects(tmp_path: Path) -> None:
    """While a broker runs, what it was assembled from is frozen, so that no collection looks at it; afterwards not."""
    (tmp_path / "policy.yaml").write_text("version: 1\ncallers: []\n")
    settings = read_settings(
        {
            "BROKER_POLICY_FILE": str(tmp_path / "policy.yaml"),
            "BROKER_CREDENTIAL_STORE": "directory",
            "BROKER_CREDENTIAL_DIR": str(tmp_path),
            "BROKER_AUDIT_FILE": str(tmp_path / "audit.log"),
        }
    )
    async with assembled(settings) as broker:
        await until(lambda: gc.get_freeze_count() > 0)
        assert not [one for one in gc.get_objects() if one is broker.services.policy]

    assert gc.get_freeze_count() == 0
