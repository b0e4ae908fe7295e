"""The CronJob that rotates client secrets."""

from __future__ import annotations

from typing import Any

from typer.main import get_command

from app.cli.program import app
from tests.support.chart import ci_values, render, the
from tests.support.repository import ROOT


def _pod() -> dict[str, Any]:
    cron_job = the(render(ci_values("rotation")), "CronJob")
    pod: dict[str, Any] = cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return pod


def _container() -> dict[str, Any]:
    container: dict[str, Any] = _pod()["containers"][0]
    return container


def test_its_arguments_are_those_of_the_command() -> None:
    """The command line takes every argument that the chart gives it."""
    arguments = _container()["args"]
    root: Any = get_command(app)
    command = root.commands["secret"].commands["rotate"]
    given = command.make_context("rotate", list(arguments[2:])).params

    assert arguments[:2] == ["secret", "rotate"]
    assert (given["all_orgs"], given["older_than"], given["quiet_for"]) == (True, "60d", "24h")


def test_it_gets_no_secret_but_those_for_vault_and_adobe() -> None:
    """The pod that may write credentials has neither the key ring, nor Redis' password, nor the policy."""
    volumes = {volume["name"] for volume in _pod()["volumes"]}

    assert volumes == {"tmp", "vault-identity", "vault-tls", "ca-vault", "ca-ims"}


def test_it_logs_in_with_a_role_and_an_account_of_its_own() -> None:
    """Neither the broker's Vault role nor its service account may write, so the rotation has both for itself."""
    role = "ims-token-broker-rotation"
    broker = the(render(ci_values("rotation")), "Deployment")["spec"]["template"]["spec"]["serviceAccountName"]

    assert _container()["env"] == [{"name": "BROKER_VAULT_ROLE", "value": role}]
    assert _pod()["serviceAccountName"] != broker
    assert f"auth/kubernetes/role/{role}" in (ROOT / "docs" / "kubernetes.md").read_text()
