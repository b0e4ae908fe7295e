"""`org import --app` as a real process: one client for many orgs, over a real Vault and a running broker."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import pytest

from tests.support.fleet import Fleet
from tests.support.operator_desk import OperatorDesk
from tests.support.tenants import SCOPES, Tenant, new_secret


class SharedClient:
    """A client of an app, to which orgs consent.

    Args:
        desk: The operator's desk.

    """

    def __init__(self, desk: OperatorDesk) -> None:
        self.name = f"app-{secrets.token_hex(4)}"
        self.secret = new_secret()
        self.own = Tenant(desk.fleet.sandbox.base_url, kind="enterprise_web_app", client_secrets=(self.secret,))
        self.desk = desk

    def orgs(self, count: int) -> list[str]:
        """New orgs that have consented."""
        found = [f"{secrets.token_hex(12).upper()}@AdobeOrg" for _ in range(count)]
        consented = {org: f"{org[:24]}@techacct.adobe.com" for org in found}
        self.desk.fleet.sandbox.put_client({**self.own.client(), "consented_orgs": consented})
        return found

    def file(self, name: str = "client.json", **changes: object) -> str:
        """The app's client as a file."""
        client = {"client_id": self.own.client_id, "client_secrets": [self.secret], "scopes": SCOPES}
        return self.desk.file({"kind": "enterprise_web_app", **client, **changes}, name)


@pytest.fixture
def desk(fleet: Fleet, tmp_path: Path) -> OperatorDesk:
    """A desk of its own, in front of the shared fleet."""
    return OperatorDesk(fleet, tmp_path)


async def test_an_app_and_its_orgs(desk: OperatorDesk) -> None:
    """The first import stores the app and an org; the next orgs need no client, and all get tokens of their own org."""
    shared = SharedClient(desk)
    orgs = shared.orgs(5)
    first = await desk.imports(shared.file(), "--app", shared.name, "--org", orgs[0], "--json")
    assert first.code == 0, first
    answer = json.loads(first.stdout)
    assert {change["field"] for change in answer["changes"]} >= {"app", "app.client_secrets", "app.scopes"}
    (desk.folder / "orgs.jsonl").write_text("".join(f'{{"org_id": "{org}"}}\n' for org in orgs))
    many = await desk.imports("orgs.jsonl", "--app", shared.name, "--json")

    assert (many.code, json.loads(many.stdout)["outcomes"]) == (0, {"created": 4, "unchanged": 1}), many
    document = desk.fleet.vault.read(f"secret/data/ims/{orgs[4]}/default")["data"]["data"]
    assert document == {"kind": "enterprise_web_app", "org_id": orgs[4], "app": shared.name}
    for org in orgs:
        reply = await desk.fleet.replicas[0].token(org)
        assert (reply.status, reply.json["org_id"], reply.json["client_id"]) == (200, org, shared.own.client_id)
    assert shared.secret not in first.stdout + first.stderr + many.stdout + many.stderr


async def test_an_app_that_does_not_exist(desk: OperatorDesk) -> None:
    """Without the app's client nothing is asked and nothing is written."""
    shared = SharedClient(desk)
    [org] = shared.orgs(1)
    finished = await desk.imports(desk.file({"org_id": org}), "--app", shared.name)

    assert finished.code == 2, finished
    assert f"names the app {shared.name}, which is not stored yet" in finished.stderr


async def test_an_app_is_never_replaced(desk: OperatorDesk) -> None:
    """An import with another secret than the stored app's is refused, and the orgs keep working."""
    shared = SharedClient(desk)
    orgs = shared.orgs(2)
    assert (await desk.imports(shared.file(), "--app", shared.name, "--org", orgs[0])).code == 0
    other = shared.file("other.json", client_secrets=["p8e-canary-another"])
    finished = await desk.imports(other, "--app", shared.name, "--org", orgs[1], "--yes")

    assert finished.code == 2, finished
    assert "has another client or other secrets than the app" in finished.stderr
    assert (await desk.fleet.replicas[0].token(orgs[0])).status == 200


async def test_an_org_that_has_not_consented(desk: OperatorDesk) -> None:
    """If IMS refuses the org, neither the app nor the org is stored."""
    shared = SharedClient(desk)
    shared.orgs(1)
    org = f"{secrets.token_hex(12).upper()}@AdobeOrg"
    finished = await desk.imports(shared.file(), "--app", shared.name, "--org", org)

    assert finished.code == 1, finished
    assert "The org has not consented to this app" in finished.stderr
    root = desk.fleet.vault.root_token
    for path in (f"{org}/default", f"_apps/{shared.name}"):
        assert desk.fleet.vault.status_as(root, f"secret/data/ims/{path}") == 404


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--app", "a b"], "--app must be 1 to 64 letters, digits, hyphens or underscores"),
        (["--app", "a", "--transit", "b"], "give --app without a key"),
        (["--app", "a"], "has no org id; give --org ORG"),
    ],
)
async def test_a_mistake_with_an_app(desk: OperatorDesk, words: list[str], expected: str) -> None:
    """A malformed name, a key and a missing org are exit status 2 and one sentence."""
    finished = await desk.imports(SharedClient(desk).file(), *words)

    assert (finished.code, len(finished.stderr.splitlines())) == (2, 1), finished
    assert expected in finished.stderr
