"""``policy explain``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli.program import app
from tests.factories import ORG, OTHER_ORG

POLICY = f"""\
version: 1
callers:
  - name: journey
    match: {{api_key_sha256: ["{"a" * 64}"]}}
    allow:
      - {{orgs: ["{ORG}"], scopes: [openid, AdobeID]}}
      - {{orgs: ["{ORG}"], credentials: [prod], actions: [status]}}
  - name: export
    match: {{api_key_sha256: ["{"b" * 64}"]}}
    allow: [{{orgs: ["*"]}}]
  - name: idle
    allow: [{{orgs: ["*"]}}]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A policy of three callers; no credential is the last one's."""
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def explain(file: Path, *words: str, org: str = ORG) -> Result:
    """Run ``policy explain`` for `org`."""
    return CliRunner().invoke(app, ["policy", "explain", "--policy", str(file), "--org", org, *words])


def test_an_allowed_request_names_its_rules(file: Path) -> None:
    """The rule that allows it is shown with its place, and the exit code is 0."""
    result = explain(file, "--caller", "journey")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"Allowed: journey may vend {ORG}, credential default.",
        f"callers[0].allow[0]: report, vend; {ORG}; credential default; the scopes AdobeID, openid",
        "The token may have the scopes AdobeID, openid.",
    ]


def test_a_denied_request_names_the_nearest_rule_and_what_it_lacks(file: Path) -> None:
    """What the nearest rule would need is one sentence, and the exit code is 1."""
    scope = explain(file, "--caller", "journey", "--scope", "openid,additional_info")
    credential = explain(file, "--caller", "journey", "--credential", "prod")
    org = explain(file, "--caller", "journey", org=OTHER_ORG)
    assert [result.exit_code for result in (scope, credential, org)] == [1, 1, 1]
    assert scope.stdout.endswith("The nearest rule is callers[0].allow[0]: scopes would need additional_info.\n")
    assert credential.stdout.endswith("The nearest rule is callers[0].allow[1]: actions would need vend.\n")
    assert org.stdout.endswith(f"The nearest rule is callers[0].allow[0]: orgs would need {OTHER_ORG}.\n")


def test_scopes_are_named_only_for_actions_with_a_token(file: Path) -> None:
    """No scopes are named for an action that returns no token: not in the rule, and not in the list of callers."""
    status = explain(file, "--caller", "journey", "--credential", "prod", "--action", "status")
    assert status.stdout.splitlines() == [
        f"Allowed: journey may status {ORG}, credential prod.",
        f"callers[0].allow[1]: status; {ORG}; credential prod",
    ]
    assert explain(file, "--action", "status").stdout == "journey  prod  status  (callers[0].allow[1])\n"


def test_json_explains_the_same(file: Path) -> None:
    """--json has the verdict, the rules, and what the nearest one lacks by field."""
    allowed = json.loads(explain(file, "--caller", "export", "--json").stdout)
    denied = json.loads(explain(file, "--caller", "journey", "--scope", "x", "--json").stdout)
    assert (allowed["allowed"], allowed["rules"], allowed["scopes"]) == (True, ["callers[1].allow[0]"], None)
    assert (denied["allowed"], denied["scope"]) == (False, ["x"])
    assert denied["nearest"] == {"rule": "callers[0].allow[0]", "missing": {"scopes": ["x"]}}


def test_a_caller_without_a_credential_is_denied(file: Path) -> None:
    """A caller that nothing matches is denied, and the output says why."""
    result = explain(file, "--caller", "idle")
    assert (result.exit_code, "No API key or JWT is this caller" in result.stdout) == (1, True)


def test_without_a_caller_all_are_listed_who_get_a_token(file: Path) -> None:
    """Each caller that gets a token of the org is one line; one with another action only, or without a key, is not."""
    result = explain(file)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "journey  default  report, vend; the scopes AdobeID, openid  (callers[0].allow[0])",
        "export  default  report, vend; all scopes of the credential  (callers[1].allow[0])",
    ]
    status = json.loads(explain(file, "--action", "status", "--json").stdout)["callers"]
    assert [(access["caller"], access["credential"]) for access in status] == [("journey", "prod")]
    assert json.loads(explain(file, "--scope", "x", "--json").stdout)["callers"][0]["caller"] == "export"
    assert explain(file, "--action", "purge").exit_code == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--caller", "journy"), "did you mean journey?"),
        (("--caller", "zzz"), "The policy has no caller of that name; it has 3 callers."),
        (("--action", "read"), "--action must be one of vend, report, purge, status"),
        (("--credential", "a b"), "credential must be"),
    ],
)
def test_a_mistake_is_one_sentence(file: Path, words: tuple[str, str], sentence: str) -> None:
    """A name that cannot be right exits with 2 and one sentence."""
    result = explain(file, *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in result.stderr


def test_an_unknown_caller_of_a_small_policy(file: Path) -> None:
    """The sentence about an unknown caller says "1 caller" if the policy has one."""
    file.write_text(POLICY.split("  - name: export")[0])

    assert "it has 1 caller.\n" in explain(file, "--caller", "zzz").stderr


def test_a_bad_policy_is_not_a_denial(file: Path) -> None:
    """A policy that is missing, or bad, exits with 2: it says nothing about the caller."""
    file.write_text(POLICY.replace("version: 1", "version: 2"))
    unnamed = CliRunner().invoke(app, ["policy", "explain", "--org", ORG], env={"BROKER_POLICY_FILE": ""})
    assert (explain(file).exit_code, unnamed.exit_code) == (2, 2)
    assert "version: must be 1" in explain(file).stderr
