"""``secret rotate --app`` by real processes: the secret that many orgs share changes while all of them ask."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from typing import Any

from app.sandbox.clients import client_from
from app.sandbox.secrets_api import SCOPES
from tests.support.fleet import Fleet
from tests.support.processes import Finished, run_cli
from tests.support.tenants import Tenant, new_secret
from tests.support.traffic import traffic
from tests.support.waiting import until
from tests.support.wire import Reply

RATE = 50.0
"""Requests per second over both replicas."""

ORGS = 400
"""At `RATE` it takes 8 s until each of them has a token."""

PURGED = 20
"""Orgs that need another token after the rotation."""


class SharedApp:
    """An app that manages its own secrets, with orgs that consented and whose documents name it.

    Args:
        fleet: The broker, Vault and IMS.
        orgs: How many orgs.
        fields: As of `Tenant`.

    """

    def __init__(self, fleet: Fleet, orgs: int, **fields: Any) -> None:
        self.fleet = fleet
        self.name = f"app-{secrets.token_hex(4)}"
        self.own = Tenant(fleet.sandbox.base_url, kind="enterprise_web_app", **fields)
        self.orgs = [f"{secrets.token_hex(12).upper()}@AdobeOrg" for _ in range(orgs)]
        consented = {org: f"{org[:24]}@techacct.adobe.com" for org in self.orgs}
        client = {**self.own.client(), "scopes": list(SCOPES), "consented_orgs": consented}
        fleet.sandbox.put_client(client)
        known = client_from(client)
        fleet.vault.put(
            "_apps",
            self.name,
            {
                "client_id": self.own.client_id,
                "client_secrets": list(self.own.client_secrets),
                "scopes": list(SCOPES),
                "ims_base_url": fleet.sandbox.base_url,
                "console_org_id": known.console_org_id,
                "console_credential_id": known.credential_id,
            },
        )
        for org in self.orgs:
            fleet.vault.put(org, "default", {"kind": "enterprise_web_app", "org_id": org, "app": self.name})

    @property
    def stored_secrets(self) -> list[str]:
        """The secrets in the app's document."""
        return list(self.fleet.vault.read(f"secret/data/ims/_apps/{self.name}")["data"]["data"]["client_secrets"])

    async def rotate(self, *words: str, console_url: str | None = None) -> Finished:
        """Run the command with a login that may write."""
        env = {
            "BROKER_VAULT_ADDR": self.fleet.vault.addr,
            "BROKER_VAULT_TOKEN": self.fleet.vault.token(self.fleet.vault.editor_policy()),
            "BROKER_IMS_BASE_URLS": self.fleet.sandbox.base_url,
        }
        at = ("--console-url", console_url or self.fleet.sandbox.base_url)
        return await run_cli("secret", "rotate", "--app", self.name, *words, *at, env=env)


async def test_one_rotation_serves_all_orgs_without_a_failure(own_fleet: Fleet) -> None:
    """While hundreds of orgs get their tokens from two replicas, their app's secret is replaced: every answer is 200.

    Each org costs one exchange, and one more after its purge; a token that was minted before is left as it is.
    """
    own_fleet.start(2)
    app = SharedApp(own_fleet, ORGS + 1)
    prover, *orgs = app.orgs

    async def ask(number: int) -> Reply:
        return await own_fleet.replicas[number % 2].token(orgs[number % len(orgs)])

    async with traffic(ask, RATE) as seen:
        await until(lambda: len(seen.replies) >= PURGED * 2, 30)
        finished = await app.rotate("--prove-with", prover, "--now", "--json")
        for org in orgs[:PURGED]:
            assert (await own_fleet.replicas[0].purge(org)).status == 204
        newest = set(orgs[:PURGED])
        await until(
            lambda: (
                seen.failures() != []
                or newest <= {reply.json["org_id"] for _, reply in seen.replies if _is_newest(reply)}
            ),
            60,
        )
    [result] = json.loads(finished.stdout)["results"]
    assert (finished.code, result["app"], result["status"]) == (0, app.name, "rotated"), finished
    assert set(result) == {"app", "status", "new", "deleted"}
    [new] = app.stored_secrets
    assert new not in app.own.client_secrets
    assert new not in finished.stdout + finished.stderr

    assert seen.failures() == []
    asked = {reply.json["org_id"] for _, reply in seen.replies}
    entries = [entry for entry in own_fleet.exchanges(app.own) if entry["org"] != prover]
    issued = Counter(entry["org"] for entry in entries if entry["outcome"] == "issued")
    assert issued == {org: 2 if org in newest else 1 for org in asked}
    # Those that were under way with the document of a moment ago are refused once, and read it again.
    assert len(entries) - issued.total() <= 20


def _is_newest(reply: Reply) -> bool:
    """Whether a token is of the third version of the app's document, which has the new secret alone."""
    return str(reply.json.get("generation")).startswith("3.")


async def test_an_app_is_rotated_by_hand(fleet: Fleet) -> None:
    """Without the API, a secret of an app comes from standard input or a file, and any org that uses it proves it."""
    old, new = new_secret(), new_secret()
    app = SharedApp(fleet, 1, client_secrets=(old,), known_secrets=(old, new))
    (fleet.folder / f"{app.name}.new").write_text(new)
    written = await app.rotate("--new-secret-file", str(fleet.folder / f"{app.name}.new"))
    assert (written.code, app.stored_secrets) == (0, [new, old]), written
    assert f"app {app.name}: the new secret works" in written.stdout
    done = await app.rotate("--finish", "--json")
    assert json.loads(done.stdout) == {"results": [{"app": app.name, "status": "finished"}]}
    assert app.stored_secrets == [new]


async def test_a_rotation_is_forgotten(fleet: Fleet) -> None:
    """`--discard` after a rotation that never began says so, and one whose new secret is in use is kept."""
    app = SharedApp(fleet, 1)
    none = await app.rotate("--discard")
    assert (none.code, "No rotation of a secret has begun" in none.stderr) == (1, True), none
    assert (await app.rotate("--no-wait")).code == 0
    used = await app.rotate("--discard")
    assert (used.code, "is in use already" in used.stderr) == (1, True), used
    assert len(app.stored_secrets) == 2


async def test_bad_options_of_an_app_are_named(fleet: Fleet) -> None:
    """A malformed name and options that do not belong together are exit status 2 and one sentence."""
    app = SharedApp(fleet, 1)
    for words, sentence in (
        (("--all",), "Give either ORG, --app NAME or --all."),
        (("--app", "a/b"), "--app must be 1 to 64 letters"),
        (("--prove-with", "x"), "org must be an IMS org id"),
        (("--discard", "--finish"), "one of --new-secret-file, --finish and --discard"),
    ):
        finished = await app.rotate(*words)
        assert (finished.code, sentence in finished.stderr) == (2, True), finished
