"""The checks of ``doctor`` of what is on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.bootstrap.local_checks import permissions_finding
from app.settings.settings import read_settings


@pytest.mark.parametrize(("number", "words"), [(1, "1 file below"), (2, "2 files below")])
def test_files_that_others_may_read_are_counted(tmp_path: Path, number: int, words: str) -> None:
    """Documents that others may read are counted, with the command that closes them."""
    for index in range(number):
        document = tmp_path / f"org{index}" / "default.json"
        document.parent.mkdir()
        document.write_text("{}")
        document.chmod(0o644)
    settings = read_settings(
        {
            "BROKER_POLICY_FILE": "policy.yaml",
            "BROKER_CREDENTIAL_STORE": "directory",
            "BROKER_CREDENTIAL_DIR": str(tmp_path),
        }
    )
    finding = permissions_finding(settings)
    assert finding.detail == f"Group or others may read: {words} BROKER_CREDENTIAL_DIR."
    assert finding.remedy == "Run chmod 600 on each, and make the broker's user its owner."
