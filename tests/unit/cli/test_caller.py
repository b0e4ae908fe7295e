"""``caller create``."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from app.adapters.policy_file import decode_policy
from app.cli.caller import key_id
from app.cli.program import app
from app.domain.api_key import parse_api_key
from app.domain.names import CredentialRef, OrgId
from app.domain.policy import Policy
from app.domain.policy_document import parse_policy

ORG = "0123456789ABCDEF01234567@AdobeOrg"
OTHER = "76543210FEDCBA9876543210@AdobeOrg"


def _policy(lines: str) -> Policy:
    return parse_policy(decode_policy(f"version: 1\ncallers:\n{lines}".encode()), "")


def test_the_printed_key_matches_the_printed_lines() -> None:
    """The printed lines, pasted into a policy, allow the printed key the given orgs and no others."""
    result = CliRunner().invoke(app, ["caller", "create", "journey-sender", "--org", ORG, "--org", OTHER])
    assert result.exit_code == 0
    found = re.search(r"^itb_journeysender_\S+$", result.stdout, re.MULTILINE)
    assert found is not None
    lines, then = result.stdout.split("policy file:\n\n")[1].split("\n\n")
    assert then.endswith("Then run: ims-token-broker policy check FILE\n")
    caller = _policy(lines).caller(parse_api_key(found[0].encode()))
    assert caller.name == "journey-sender"
    assert caller.permission(CredentialRef(OrgId(ORG))) is not None
    assert caller.permission(CredentialRef(OrgId(OTHER))) is not None
    assert caller.permission(CredentialRef(OrgId("A" * 24 + "@AdobeOrg"))) is None


def test_json_has_the_key_its_digest_and_the_lines() -> None:
    """--json prints the key, its digest and the lines."""
    result = CliRunner().invoke(app, ["caller", "create", "x", "--org", "*", "--json"])
    answer = json.loads(result.stdout)
    assert set(answer) == {"name", "api_key", "api_key_sha256", "policy"}
    caller = _policy(answer["policy"]).caller(parse_api_key(answer["api_key"].encode()))
    assert caller.api_key_digests == {bytes.fromhex(answer["api_key_sha256"])}
    assert caller.permission(CredentialRef(OrgId(ORG))) is not None


def test_without_an_org_nothing_real_is_allowed() -> None:
    """Without --org the lines are an example to edit, never a permission for every org."""
    result = CliRunner().invoke(app, ["caller", "create", "x", "--json"])
    caller = _policy(json.loads(result.stdout)["policy"]).callers[0]
    assert caller.permission(CredentialRef(OrgId(OTHER))) is None


def test_the_key_is_new_each_time() -> None:
    """No key is generated twice."""
    outputs = {CliRunner().invoke(app, ["caller", "create", "x", "--json"]).stdout for _ in range(3)}
    assert len(outputs) == 3


@pytest.mark.parametrize("name", ["", "two words", "-a", 'a"', "a\nb", "é", "\x00", "x" * 64])
def test_a_bad_name_is_refused(name: str) -> None:
    """A name that the policy would refuse is refused here, and no key is generated."""
    result = CliRunner().invoke(app, ["caller", "create", "--", name])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: NAME: ")


@pytest.mark.parametrize("org", ["", "x", f"{ORG}x", '"]', "\n"])
def test_a_bad_org_is_refused(org: str) -> None:
    """An org that the policy would refuse is refused here."""
    result = CliRunner().invoke(app, ["caller", "create", "x", "--org", org])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: --org: ")


@pytest.mark.parametrize(("name", "expected"), [("a.b-c_D1", "abcD1"), ("x" * 63, "x" * 32)])
def test_the_key_id_is_made_from_the_name(name: str, expected: str) -> None:
    """The key's id is the name's letters and digits, cut to the length of an id."""
    assert key_id(name) == expected
