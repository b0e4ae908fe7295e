"""``policy check``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.adapters.policy_file import read_policy
from app.cli.program import app

GOOD = """\
version: 1
callers:
  - name: a
    match: {api_key_sha256: ["%s"]}
    allow: [{orgs: ["*"]}]
""" % ("a" * 64)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A valid policy file."""
    path = tmp_path / "policy.yaml"
    path.write_text(GOOD)
    return path


def test_a_valid_policy_is_one_line(file: Path) -> None:
    """A valid file is one line with counts and version."""
    result = CliRunner().invoke(app, ["policy", "check", str(file)])
    version = read_policy(file).version
    assert (result.exit_code, result.stdout) == (0, f"{file}: valid: 1 caller, 0 issuers, version {version}\n")


def test_json_describes_a_valid_policy(file: Path) -> None:
    """--json prints the same for programs."""
    result = CliRunner().invoke(app, ["policy", "check", str(file), "--json"])
    expected = {"valid": True, "callers": 1, "issuers": 0, "version": read_policy(file).version, "notes": []}
    assert (result.exit_code, json.loads(result.stdout)) == (0, expected)


def test_places_that_allow_nothing_are_listed(file: Path) -> None:
    """A valid file with an empty list is still valid, and each place that allows nothing is noted with its caller."""
    file.write_text(GOOD.replace('allow: [{orgs: ["*"]}]', "allow: []"))
    note = "callers[0].allow: allows nothing to a"
    result = CliRunner().invoke(app, ["policy", "check", str(file)])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1:] == [f"{file}: note: {note}"]
    as_json = CliRunner().invoke(app, ["policy", "check", str(file), "--json"])
    assert (as_json.exit_code, json.loads(as_json.stdout)["notes"]) == (0, [note])


def test_an_invalid_policy_is_one_sentence(file: Path) -> None:
    """An invalid file gives one sentence with place and expectation, without the value."""
    file.write_text(GOOD.replace("orgs:", "hunter2:"))
    result = CliRunner().invoke(app, ["policy", "check", str(file)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: {file}: callers[0].allow[0]: ")
    assert "hunter2" not in result.stderr


def test_json_describes_an_invalid_policy(file: Path) -> None:
    """--json prints place and expectation, with the same exit code."""
    file.write_text(GOOD.replace("version: 1", "version: 2"))
    result = CliRunner().invoke(app, ["policy", "check", str(file), "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {"valid": False, "place": "version", "expected": "must be 1"}


def test_a_missing_policy_is_one_sentence(tmp_path: Path) -> None:
    """A missing file is reported in one sentence, with the exit code that it has for every command."""
    result = CliRunner().invoke(app, ["policy", "check", str(tmp_path / "none.yaml")])
    as_json = CliRunner().invoke(app, ["policy", "check", str(tmp_path / "none.yaml"), "--json"])
    assert (result.exit_code, as_json.exit_code, json.loads(as_json.stdout)["valid"]) == (2, 2, False)
    assert "cannot be read: no such file or directory." in result.stderr


def test_the_brokers_own_variable(file: Path) -> None:
    """Without FILE the file in `BROKER_POLICY_FILE` is checked, as in an init container; FILE takes precedence."""
    valid = CliRunner().invoke(app, ["policy", "check"], env={"BROKER_POLICY_FILE": str(file)})
    other = CliRunner().invoke(app, ["policy", "check", str(file)], env={"BROKER_POLICY_FILE": "/none"})
    unnamed = CliRunner().invoke(app, ["policy", "check"], env={"BROKER_POLICY_FILE": ""})
    assert (valid.exit_code, other.exit_code) == (0, 0)
    assert (unnamed.exit_code, "BROKER_POLICY_FILE" in unnamed.stderr) == (2, True)
