"""`org import` as a real process: from Adobe's files to tokens of a running broker, over a real Vault."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import adobe_files
from tests.support.fleet import Fleet
from tests.support.keys import PASSPHRASE, key_pair
from tests.support.operator_desk import OperatorDesk
from tests.support.processes import Finished, run_cli
from tests.support.repository import ROOT
from tests.support.tenants import SCOPES, Tenant
from tests.support.terminal import run_in_terminal
from tests.support.wire import exchange, request_bytes

README = (ROOT / "README.md").read_text()

FILES: dict[str, tuple[str, Callable[[Tenant], dict[str, Any]]]] = {
    "service-credentials.json": ("jwt", adobe_files.aem_service_credentials),
    "oauth-project.json": ("oauth_server_to_server", adobe_files.oauth_project),
    "jwt-project.json": ("jwt", adobe_files.jwt_project),
}
"""The README's files, by name: their kind, and what Adobe writes into them."""


@pytest.fixture
def desk(fleet: Fleet, tmp_path: Path) -> OperatorDesk:
    """A desk of its own, in front of the shared fleet."""
    return OperatorDesk(fleet, tmp_path)


def readme_commands() -> list[list[str]]:
    """The words of each `org import` in the README, without comments."""
    lines = [line.strip() for line in README.splitlines() if line.strip().startswith("ims-token-broker org import")]
    return [shlex.split(line, comments=True)[3:] for line in lines]


def test_the_readme_imports_all_three_files() -> None:
    """The README has one command for each file that Adobe hands out."""
    assert [words[0] for words in readme_commands()] == list(FILES)


@pytest.mark.parametrize("words", readme_commands(), ids=lambda words: words[0])
async def test_from_adobes_file_to_an_api_call(desk: OperatorDesk, words: list[str]) -> None:
    """With the README's command alone, a file becomes a token of the running broker, and an API call gets 200."""
    kind, written = FILES[words[0]]
    tenant = desk.tenant(kind=kind)
    desk.file(written(tenant), words[0])
    (desk.folder / "private.key").write_text(tenant.key.pkcs8)
    begun = time.monotonic()

    imported = await desk.imports(*words)
    answer = await desk.fleet.replicas[0].token(tenant.org)

    assert (imported.code, answer.status) == (0, 200), imported
    assert ("every copy of the private key" in imported.stderr) == (kind == "jwt")
    assert " still holds secrets: delete it" in imported.stderr
    token = answer.json
    headers = [
        (b"Authorization", f"Bearer {token['access_token']}".encode()),
        (b"X-Api-Key", token["client_id"].encode()),
        (b"x-gw-ims-org-id", token["org_id"].encode()),
    ]
    assert (await exchange(desk.fleet.sandbox.port, request_bytes("GET", "/imp/campaigns", headers))).status == 200
    assert time.monotonic() - begun < 60
    _shows_no_secret(imported, tenant)


async def test_the_answer_in_json(desk: OperatorDesk) -> None:
    """`--json` prints one object: what was stored, what changed, and what IMS issued."""
    tenant = desk.tenant(client_secrets=("p8e-canary-secret-1", "p8e-canary-secret-2"))
    finished = await desk.imports(desk.file(adobe_files.oauth_project(tenant)), "--json")
    answer = json.loads(finished.stdout)

    assert list(answer) == ["org", "credential", "source", "outcome", "version", "changes", "proof", "notes"]
    assert (answer["org"], answer["credential"]) == (tenant.org, "default")
    assert (answer["outcome"], answer["version"]) == ("created", "1")
    assert answer["source"] == "a project downloaded from the Adobe Developer Console"
    assert answer["proof"] == {"client_secrets": 2, "scopes": sorted(SCOPES), "expires_in": 86399}
    changes = {change["field"]: change for change in answer["changes"]}
    assert changes["client_secrets"]["after"].startswith("2 secrets, sha256 ")
    assert all(list(change) == ["field", "before", "after"] for change in answer["changes"])
    _shows_no_secret(finished, tenant)


async def test_nothing_is_written_if_ims_refuses_a_secret(desk: OperatorDesk) -> None:
    """If IMS refuses one of two secrets, the exit status is 1, the sentence says why, and Vault was not written."""
    tenant = desk.tenant(
        client_secrets=("p8e-canary-good-one", "p8e-canary-wrong"), known_secrets=("p8e-canary-good-one",)
    )
    finished = await desk.imports(desk.file(adobe_files.oauth_project(tenant)))

    assert finished.code == 1
    assert "IMS refused this credential: invalid_client" in finished.stderr
    assert "Nothing was written." in finished.stderr
    assert desk.versions(tenant) == 0
    _shows_no_secret(finished, tenant)


async def test_a_host_that_is_not_allowed(desk: OperatorDesk) -> None:
    """The error names the setting, the value to add, and the option that names another host."""
    file, host = desk.file(adobe_files.oauth_project(desk.tenant())), "https://ims-stage.example"
    finished = await run_cli("org", "import", file, "--ims-base-url", host, env=desk.env, cwd=desk.folder)

    assert finished.code == 2
    assert (
        f"{file} cannot be used with the IMS host {host}, which is not on the allow-list BROKER_IMS_BASE_URLS;"
        " add it to that setting, or give --ims-base-url with a host that is there."
    ) in finished.stderr


async def test_a_key_that_belongs_to_another_certificate(desk: OperatorDesk) -> None:
    """A key that is not that of the certificate is refused before IMS is asked."""
    tenant = desk.tenant(kind="jwt")
    (desk.folder / "other.key").write_text(key_pair("other").pkcs8)
    finished = await desk.imports(desk.file(adobe_files.aem_service_credentials(tenant)), "--private-key", "other.key")

    assert finished.code == 2
    assert "download.json has a defect in certificate: does not belong to private_key" in finished.stderr
    assert desk.fleet.exchanges(tenant) == []
    assert desk.versions(tenant) == 0


async def test_an_encrypted_key_needs_its_passphrase(desk: OperatorDesk) -> None:
    """An encrypted key is taken with the file of its passphrase, and refused with the option's name without."""
    tenant = desk.tenant(kind="jwt")
    file = desk.file(adobe_files.jwt_project(tenant))
    (desk.folder / "private.key").write_text(tenant.key.encrypted)
    (desk.folder / "passphrase").write_text(f"{PASSPHRASE}\n")

    without = await desk.imports(file, "--private-key", "private.key")
    finished = await desk.imports(file, "--private-key", "private.key", "--passphrase-file", "passphrase")
    assert (without.code, finished.code) == (2, 0), finished
    assert "has an encrypted private key, and its passphrase is missing; give --passphrase-file" in without.stderr
    assert PASSPHRASE not in finished.stdout + finished.stderr


async def test_a_dry_run_does_everything_but_write(desk: OperatorDesk) -> None:
    """`--dry-run` makes the exchange and shows the changes, and writes nothing."""
    tenant = desk.tenant()
    finished = await desk.imports(desk.file(adobe_files.oauth_project(tenant)), "--dry-run")

    assert finished.code == 0
    assert "nothing is stored yet" in finished.stdout
    assert "client_secrets: 1 secret, sha256 " in finished.stdout
    assert "Dry run: nothing was written." in finished.stdout
    assert len(desk.fleet.exchanges(tenant)) == 1
    assert desk.versions(tenant) == 0


async def test_an_import_over_a_stored_credential(desk: OperatorDesk) -> None:
    """The same credential is nothing to do; a different one is shown, and replaced only with --yes."""
    tenant = desk.tenant(
        known_secrets=("p8e-canary-secret-old", "p8e-canary-secret-new"), client_secrets=("p8e-canary-secret-old",)
    )
    old = desk.file(adobe_files.oauth_project(tenant), "old.json")
    new = desk.file(adobe_files.oauth_project(tenant.changed(client_secrets=("p8e-canary-secret-new",))), "new.json")

    assert (await desk.imports(old)).code == 0
    again, refused = await desk.imports(old, "--json"), await desk.imports(new)
    assert (again.code, json.loads(again.stdout)["outcome"]) == (0, "unchanged")
    assert refused.code == 1
    assert "client_secrets: 1 secret, sha256 " in refused.stdout
    assert "A different credential is stored for" in refused.stderr
    assert desk.versions(tenant) == 1

    replaced = await desk.imports(new, "--yes")
    assert (replaced.code, desk.versions(tenant)) == (0, 2), replaced
    assert "Replaced by version 2, and read back." in replaced.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["missing.json"], "missing.json cannot be read"),
        (["text.json"], "text.json is not a JSON file"),
        (["download.json"], "download.json has no org id; give --org ORG"),
        (["download.json", "--org", "acme"], "--org must be an IMS org id"),
        (["download.json", "--credential", "a b"], "--credential must be"),
        (["download.json", "--private-key", "no.key"], "no.key cannot be read"),
    ],
)
async def test_a_mistake_is_one_sentence(desk: OperatorDesk, words: list[str], expected: str) -> None:
    """A wrong file or option is exit status 2 and one sentence with the name of the file or option."""
    desk.file(adobe_files.oauth_member(Tenant(desk.fleet.sandbox.base_url)))
    (desk.folder / "text.json").write_text("p8e-canary-secret")
    finished = await desk.imports(*words)

    assert finished.code == 2, finished
    assert finished.stderr.startswith(f"Error: {expected}")
    assert len(finished.stderr.splitlines()) == 1
    assert "canary" not in finished.stderr


async def test_an_import_into_a_directory(desk: OperatorDesk) -> None:
    """With the directory store, the document is a file that only its owner can read."""
    tenant = desk.tenant()
    store = desk.folder / "credentials"
    store.mkdir()
    desk.env = {
        "BROKER_CREDENTIAL_STORE": "directory",
        "BROKER_CREDENTIAL_DIR": str(store),
        "BROKER_IMS_BASE_URLS": desk.fleet.sandbox.base_url,
    }
    finished = await desk.imports(
        desk.file(adobe_files.oauth_member(tenant)), "--org", tenant.org, "--credential", "second"
    )

    file = store / tenant.org / "second.json"
    assert finished.code == 0, finished
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text())["client_secrets"] == list(tenant.client_secrets)


async def test_an_import_into_a_missing_directory(desk: OperatorDesk) -> None:
    """It ends before IMS is asked, with exit status 2 and the setting's name; the directory is not made."""
    tenant = desk.tenant()
    store = desk.folder / "credentials"
    desk.env = {
        "BROKER_CREDENTIAL_STORE": "directory",
        "BROKER_CREDENTIAL_DIR": str(store),
        "BROKER_IMS_BASE_URLS": desk.fleet.sandbox.base_url,
    }
    finished = await desk.imports(desk.file(adobe_files.oauth_member(tenant)), "--org", tenant.org)

    assert finished.code == 2
    assert finished.stderr == "Error: BROKER_CREDENTIAL_DIR: is not a directory that can be read.\n"
    assert desk.fleet.exchanges(tenant) == []
    assert not store.exists()


async def test_a_login_that_may_only_read(desk: OperatorDesk) -> None:
    """With the broker's own login, the sentence says that it may not write, and where the right lines are."""
    tenant = desk.tenant()
    desk.env["BROKER_VAULT_TOKEN"] = desk.fleet.vault_token
    finished = await desk.imports(desk.file(adobe_files.oauth_project(tenant)))

    assert finished.code == 1
    assert "docs/least-privilege.md has the lines that commands need" in finished.stderr
    assert (await desk.fleet.replicas[0].token(tenant.org)).status == 404


def _shows_no_secret(finished: Finished, tenant: Tenant) -> None:
    shown = finished.stdout + finished.stderr
    for secret in (*tenant.client_secrets, "PRIVATE KEY", "eyJ"):
        assert secret not in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize(("typed", "code", "versions"), [("y", 0, 2), ("n", 1, 1)])
async def test_a_person_agrees_to_a_replacement(desk: OperatorDesk, typed: str, code: int, versions: int) -> None:
    """At a terminal the command shows what differs and asks; without a yes nothing is replaced."""
    both = ("p8e-canary-secret-old", "p8e-canary-secret-new")
    tenant = desk.tenant(client_secrets=both[:1], known_secrets=both)
    assert (await desk.imports(desk.file(adobe_files.oauth_project(tenant)))).code == 0
    file = desk.file(adobe_files.oauth_project(tenant.changed(client_secrets=both[1:])))
    words, question = desk.words(file), "Replace what is stored? [y/N]: "
    finished = await run_in_terminal(*words, answers={question: typed}, env=desk.env, cwd=desk.folder)

    assert finished.code == code, finished
    assert finished.stdout.index("client_secrets: 1 secret, sha256") < finished.stdout.index(question)
    assert desk.versions(tenant) == versions
