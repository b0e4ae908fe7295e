"""``keys create``."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from app.adapters.redis.key_ring import KeyRing, load_key_ring
from app.cli.program import app


def test_standard_output() -> None:
    """Without a file the key ring, and nothing else, goes to standard output; each one is new."""
    first, second = (CliRunner().invoke(app, ["keys", "create"]) for _ in range(2))
    assert first.exit_code == 0
    assert KeyRing.parse(first.stdout_bytes).ids != KeyRing.parse(second.stdout_bytes).ids


def test_file(tmp_path: Path) -> None:
    """A file is written for its owner alone, and its content is not shown."""
    file = tmp_path / "keys.json"
    result = CliRunner().invoke(app, ["keys", "create", str(file)])
    assert result.exit_code == 0
    assert file.stat().st_mode & 0o777 == 0o600
    ring = json.loads(file.read_text())
    assert load_key_ring(file).ids == (ring["keys"][0]["id"],)
    assert ring["keys"][0]["key"] not in result.output


def test_file_json(tmp_path: Path) -> None:
    """--json says which key was written where, and not the key."""
    file = tmp_path / "keys.json"
    result = CliRunner().invoke(app, ["keys", "create", str(file), "--json"])
    answer = json.loads(result.stdout)
    ring = json.loads(file.read_text())
    assert answer == {"file": str(file), "id": ring["keys"][0]["id"], "created": ring["keys"][0]["created"]}


def test_never_over_a_file(tmp_path: Path) -> None:
    """An existing file stays as it is."""
    file = tmp_path / "keys.json"
    file.write_text("precious")
    result = CliRunner().invoke(app, ["keys", "create", str(file)])
    assert result.exit_code == 2
    assert "exists already" in result.stderr
    assert file.read_text() == "precious"


def test_never_through_a_link(tmp_path: Path) -> None:
    """A symbolic link that leads nowhere counts as an existing file."""
    link = tmp_path / "keys.json"
    link.symlink_to(tmp_path / "elsewhere")
    assert CliRunner().invoke(app, ["keys", "create", str(link)]).exit_code == 2
    assert not (tmp_path / "elsewhere").exists()


def test_no_such_folder(tmp_path: Path) -> None:
    """A file that cannot be written is one sentence."""
    result = CliRunner().invoke(app, ["keys", "create", str(tmp_path / "no" / "keys.json")])
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr
