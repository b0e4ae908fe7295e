"""``keys``: creating a key ring and checking one."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from app.cli.program import app
from app.shared_cache.key_ring import KeyRing, load_key_ring


def test_a_new_ring_goes_to_standard_output() -> None:
    """Without a file the key ring, and nothing else, is printed to standard output; each one is new."""
    first, second = (CliRunner().invoke(app, ["keys", "create"]) for _ in range(2))
    assert first.exit_code == 0
    assert KeyRing.parse(first.stdout_bytes).ids != KeyRing.parse(second.stdout_bytes).ids


def test_a_new_ring_goes_to_a_private_file(tmp_path: Path) -> None:
    """Only the owner can read the file that is written, and its content is not printed."""
    file = tmp_path / "keys.json"
    result = CliRunner().invoke(app, ["keys", "create", str(file)])
    assert result.exit_code == 0
    assert file.stat().st_mode & 0o777 == 0o600
    ring = json.loads(file.read_text())
    assert load_key_ring(file).ids == (ring["keys"][0]["id"],)
    assert ring["keys"][0]["key"] not in result.output


def test_json_does_not_show_the_key(tmp_path: Path) -> None:
    """--json prints the key's id and the file, and not the key."""
    file = tmp_path / "keys.json"
    result = CliRunner().invoke(app, ["keys", "create", str(file), "--json"])
    answer = json.loads(result.stdout)
    ring = json.loads(file.read_text())
    assert answer == {"file": str(file), "id": ring["keys"][0]["id"], "created": ring["keys"][0]["created"]}


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    """An existing file is not changed."""
    file = tmp_path / "keys.json"
    file.write_text("precious")
    result = CliRunner().invoke(app, ["keys", "create", str(file)])
    assert result.exit_code == 2
    assert "already exists" in result.stderr
    assert file.read_text() == "precious"


def test_a_dangling_link_is_never_followed(tmp_path: Path) -> None:
    """A dangling symbolic link counts as an existing file."""
    link = tmp_path / "keys.json"
    link.symlink_to(tmp_path / "elsewhere")
    assert CliRunner().invoke(app, ["keys", "create", str(link)]).exit_code == 2
    assert not (tmp_path / "elsewhere").exists()


def test_an_unwritable_file_is_reported(tmp_path: Path) -> None:
    """A file that cannot be written is reported in one sentence."""
    result = CliRunner().invoke(app, ["keys", "create", str(tmp_path / "no" / "keys.json")])
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr


def ring(tmp_path: Path) -> Path:
    """A valid key ring."""
    file = tmp_path / "keys.json"
    file.write_text(CliRunner().invoke(app, ["keys", "create"]).stdout)
    return file


def test_a_valid_ring_is_one_line(tmp_path: Path) -> None:
    """A valid ring, from FILE or the broker's variable, is one line with the id of the sealing key; no key is shown."""
    file = ring(tmp_path)
    [key] = json.loads(file.read_text())["keys"]
    named = CliRunner().invoke(app, ["keys", "check", str(file)])
    by_variable = CliRunner().invoke(app, ["keys", "check"], env={"BROKER_CACHE_KEYS_FILE": str(file)})
    as_json = CliRunner().invoke(app, ["keys", "check", str(file), "--json"])
    assert (named.exit_code, named.output) == (0, f"{file}: valid: 1 key, {key['id']} encrypts\n")
    assert (by_variable.exit_code, by_variable.output) == (0, named.output)
    assert json.loads(as_json.output) == {"valid": True, "keys": [key["id"]], "sealing": key["id"]}
    assert key["key"] not in named.output + as_json.output


def test_an_invalid_ring_is_one_sentence(tmp_path: Path) -> None:
    """An invalid ring gives exit code 1 and one sentence with place and expectation, without the value."""
    file = ring(tmp_path)
    file.write_text(file.read_text().replace('"key": "', '"key": "canary'))
    result = CliRunner().invoke(app, ["keys", "check", str(file)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: {file}: keys[0].key: must be 32 bytes in base64.\n"
    as_json = CliRunner().invoke(app, ["keys", "check", str(file), "--json"])
    expected = {"valid": False, "place": "keys[0].key", "expected": "must be 32 bytes in base64"}
    assert (as_json.exit_code, json.loads(as_json.stdout)) == (1, expected)


def test_a_missing_ring_is_reported(tmp_path: Path) -> None:
    """A missing file, no FILE and no variable, and an empty one are usage errors."""
    missing = CliRunner().invoke(app, ["keys", "check", str(tmp_path / "none")])
    unnamed = CliRunner().invoke(app, ["keys", "check"], env={"BROKER_CACHE_KEYS_FILE": ""})
    assert (missing.exit_code, "cannot be read" in missing.stderr) == (2, True)
    assert (unnamed.exit_code, "BROKER_CACHE_KEYS_FILE" in unnamed.stderr) == (2, True)


def test_an_activation_that_is_repeated_changes_nothing(tmp_path: Path) -> None:
    """A second --activate leaves the file as it is, says so, and still names the old key as the one to retire."""
    file = ring(tmp_path)
    [old] = load_key_ring(file).ids
    assert CliRunner().invoke(app, ["keys", "rotate", str(file)]).exit_code == 0
    first = CliRunner().invoke(app, ["keys", "rotate", str(file), "--activate"])
    activated = file.read_bytes()
    again = CliRunner().invoke(app, ["keys", "rotate", str(file), "--activate"])
    assert (first.exit_code, again.exit_code, file.read_bytes() == activated) == (0, 0, True)
    assert "nothing was changed" in again.stdout
    for output in (first.stdout, again.stdout):
        assert output.endswith(f"keys retire {file} {old}\n")
