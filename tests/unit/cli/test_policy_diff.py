"""``policy diff``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli.program import app
from tests.factories import ORG, OTHER_ORG

KEY, OTHER_KEY, THIRD_KEY = (letter * 64 for letter in "abc")
OLD = f"""\
version: 1
issuers: [{{issuer: "https://issuer.test", audience: broker, jwks_url: "https://issuer.test/jwks"}}]
callers:
  - name: journey
    match: {{api_key_sha256: ["{KEY}"]}}
    allow: [{{orgs: ["{ORG}"]}}, {{orgs: ["{OTHER_ORG}"], actions: [purge]}}]
  - name: gone
    match: {{issuer: "https://issuer.test", subject: export}}
    allow: [{{orgs: ["*"], credentials: [prod]}}]
"""
NEW = f"""\
version: 1  # the order of rules and callers says nothing
issuers: [{{issuer: "https://issuer.test", audience: other, jwks_url: "https://issuer.test/jwks"}}]
callers:
  - name: added
    match: {{api_key_sha256: ["{THIRD_KEY}"]}}
    allow: [{{orgs: ["*"]}}, {{orgs: ["{ORG}"], actions: [status]}}]
  - name: journey
    match: {{api_key_sha256: [{{sha256: "{OTHER_KEY}", not_after: 2101-01-01T00:00:00Z}}]}}
    rate_limit: {{limit: 200/s, scope: fleet}}
    allow:
      - {{orgs: ["{OTHER_ORG}"], actions: [purge], not_after: 2100-01-01T00:00:00Z}}
      - {{orgs: ["{ORG}"], scopes: [openid]}}
      - {{orgs: ["*"], mode: audit}}
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A policy and a changed one."""
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(OLD)
    new.write_text(NEW)
    return old, new


def diff(*words: object) -> Result:
    """Run ``policy diff``."""
    return CliRunner().invoke(app, ["policy", "diff", *map(str, words)])


def test_each_difference_is_one_sentence(files: tuple[Path, Path]) -> None:
    """Each caller's gains and losses are sentences, with the orgs and the time; the exit code is 1."""
    result = diff(*files)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "issuer https://issuer.test changes audience.",
        f"journey loses the API key with the SHA-256 {KEY[:16]}….",
        f"journey gains the API key with the SHA-256 {OTHER_KEY[:16]}…, until 2101-01-01T00:00:00Z.",
        "journey changes its rate limit from none to 200/s for the fleet.",
        "journey changes its rules with mode audit.",
        "gone is removed.",
        "added is added.",
        f"journey loses every scope except openid for {ORG}, credential default.",
        f"journey loses purge for {OTHER_ORG}, credential default from 2100-01-01T00:00:00Z.",
        "gone loses report, vend with every scope for every org, credential prod.",
        f"added gains report, vend with every scope for every org except {ORG}, credential default.",
        f"added gains report, status, vend with every scope for {ORG}, credential default.",
    ]


def test_json_has_the_same_differences(files: tuple[Path, Path]) -> None:
    """--json has one entry for each sentence, and times in the form of RFC 3339."""
    result = diff(*files, "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["different"]) == (1, True)
    assert (len(found["others"]), len(found["rights"])) == (7, 5)
    assert found["rights"][1] == {
        "direction": "loses", "caller": "journey", "orgs": [OTHER_ORG], "other_orgs": [], "credential": "default",
        "actions": ["purge"], "scopes": [], "other_scopes": [], "start": "2100-01-01T00:00:00Z", "end": None,
    }  # fmt: skip


def test_a_key_that_has_ended_is_neither_lost_nor_gained(files: tuple[Path, Path]) -> None:
    """Removing or adding a key whose not_after has passed is not a difference: it is refused already."""
    old, new = files
    ended = OLD.replace(f'["{KEY}"]', f'["{KEY}", {{sha256: "{OTHER_KEY}", not_after: 2020-01-01T00:00:00Z}}]')
    old.write_text(ended)
    new.write_text(OLD)
    assert [(diff(*pair).exit_code, diff(*pair).stdout[:14]) for pair in (files, files[::-1])] == [
        (0, "No difference:"), (0, "No difference:"),
    ]  # fmt: skip


def test_what_is_not_printed_is_in_the_json(files: tuple[Path, Path]) -> None:
    """Of more than ten orgs the others are counted, and the sentence says that --json has all of them."""
    old, new = files
    orgs = [f"{number:024X}@AdobeOrg" for number in range(12)]
    new.write_text(OLD.replace(f'[{{orgs: ["{ORG}"]}},', f'[{{orgs: ["{ORG}"]}}, {{orgs: {json.dumps(orgs)}}},'))
    assert f"{orgs[9]} and 2 more (--json has all), credential default." in diff(old, new).stdout
    [change] = json.loads(diff(old, new, "--json").stdout)["rights"]
    assert change["orgs"] == orgs


def test_the_same_rights_in_other_words_do_not_differ(files: tuple[Path, Path]) -> None:
    """A comment, another order or a written default is not a difference: exit code 0."""
    old, other = files
    rules = f'[{{orgs: ["{OTHER_ORG}"], actions: [purge]}}, {{orgs: ["{ORG}"], credentials: [default]}}]'
    other.write_text(
        OLD.replace(f'[{{orgs: ["{ORG}"]}}, {{orgs: ["{OTHER_ORG}"], actions: [purge]}}]', rules) + "# x\n"
    )
    assert other.read_text().count("credentials: [default]") == 1
    result = diff(old, other)
    assert (result.exit_code, result.stdout) == (0, "No difference: every caller may do the same.\n")
    assert json.loads(diff(old, other, "--json").stdout) == {"different": False, "others": [], "rights": []}


def test_a_bad_file_is_not_a_difference(files: tuple[Path, Path], tmp_path: Path) -> None:
    """A file that is missing or bad exits with 2 and one sentence that names it."""
    old, new = files
    new.write_text(NEW.replace("version: 1", "version: 2"))
    for words, name in (((old, new), new), ((tmp_path / "none", old), tmp_path / "none")):
        result = diff(*words)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith(f"Error: {name}: ")
