"""A file with a secret that is changed keeps a mode that only its owner and one group can use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.cli.new_file import change_file


@pytest.mark.parametrize(
    ("before", "after"), [(0o600, 0o600), (0o640, 0o640), (0o440, 0o440), (0o644, 0o600), (0o660, 0o600)], ids=oct
)
def test_a_mode_is_kept_unless_it_is_too_wide(tmp_path: Path, before: int, after: int) -> None:
    """The mode stays if it is at most 0640; a wider one becomes 0600."""
    file = tmp_path / "ring.json"
    file.write_text("old")
    file.chmod(before)
    assert change_file(file, "new") == after
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("new", after)
    assert [path.name for path in tmp_path.iterdir()] == ["ring.json"]


def test_a_group_is_kept(tmp_path: Path) -> None:
    """The group that can read the file is the same afterwards."""
    file = tmp_path / "ring.json"
    file.write_text("old")
    group = 65532 if os.geteuid() == 0 else max(os.getgroups())
    os.chown(file, -1, group)
    file.chmod(0o640)
    assert (change_file(file, "new"), file.stat().st_gid) == (0o640, group)
