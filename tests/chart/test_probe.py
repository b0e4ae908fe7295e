"""The CronJob that checks the running broker."""

from __future__ import annotations

from typing import Any

from typer.main import get_command

from app.cli.program import app
from tests.support.chart import ci_values, render, the


def _pod() -> dict[str, Any]:
    cron_job = the(render(ci_values("probe")), "CronJob")
    pod: dict[str, Any] = cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return pod


def test_its_arguments_are_those_of_the_command() -> None:
    """The command line takes every argument that the chart gives it."""
    arguments = _pod()["containers"][0]["args"]
    root: Any = get_command(app)
    given = root.commands["probe"].make_context("probe", list(arguments[1:])).params

    assert arguments[0] == "probe"
    assert given["org"] == "0123456789ABCDEF01234567@AdobeOrg"
    assert given["denied_org"] == "FEDCBA9876543210FEDCBA98@AdobeOrg"
    assert given["url"].startswith("https://")


def test_it_has_no_secret_but_its_own_key() -> None:
    """The pod has its API key and the broker's CA, and no variable."""
    pod = _pod()

    assert {volume["name"] for volume in pod["volumes"]} == {"probe", "ca"}
    assert "env" not in pod["containers"][0]
    assert "envFrom" not in pod["containers"][0]


def test_the_network_policy_lets_it_in() -> None:
    """With `networkPolicy.ingress.from`, the probe's pods may still connect."""
    manifests = render(ci_values("probe"))
    labels = the(manifests, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    [rule] = the(manifests, "NetworkPolicy")["spec"]["ingress"]
    selectors = [source["podSelector"]["matchLabels"] for source in rule["from"] if "podSelector" in source]

    assert any(selector.items() <= labels.items() for selector in selectors)
