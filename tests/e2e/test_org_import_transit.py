"""`org import --transit` as a real process: the private key moves into a real Vault's transit engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import adobe_files
from tests.support.fleet import Fleet
from tests.support.keys import PASSPHRASE, key_pair
from tests.support.operator_desk import OperatorDesk
from tests.support.tenants import Tenant


@pytest.fixture
def desk(fleet: Fleet, tmp_path: Path) -> OperatorDesk:
    """A desk whose login may also move keys."""
    made = OperatorDesk(fleet, tmp_path)
    made.env["BROKER_VAULT_TOKEN"] = fleet.vault.token(fleet.vault.editor_policy(), fleet.vault.mover_policy())
    return made


def key_status(desk: OperatorDesk, name: str) -> int:
    """Whether Vault has a key: 200 or 404."""
    return desk.fleet.vault.status_as(desk.fleet.vault.root_token, f"transit/keys/{name}")


async def token_status(desk: OperatorDesk, tenant: Tenant) -> int:
    """What the broker answers for the tenant."""
    return (await desk.fleet.replicas[0].token(tenant.org)).status


@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_key_moves_into_vault(desk: OperatorDesk, encrypted: bool) -> None:
    """The private key is in the transit engine, no document has it, and the running broker vends."""
    tenant = desk.tenant(kind="jwt")
    name = f"ims-{tenant.org[:24]}"
    (desk.folder / "private.key").write_text(tenant.key.encrypted if encrypted else tenant.key.pkcs8)
    (desk.folder / "passphrase").write_text(PASSPHRASE)
    more = ("--passphrase-file", "passphrase") if encrypted else ()
    file = desk.file(adobe_files.jwt_project(tenant))
    finished = await desk.imports(file, "--private-key", "private.key", *more, "--transit", "ims-{org}", "--json")

    assert finished.code == 0, finished
    stored = desk.fleet.vault.read(f"secret/data/ims/{tenant.org}/default")["data"]["data"]
    assert stored["transit_key"] == name
    assert "PRIVATE KEY" not in json.dumps(stored) + finished.stdout
    assert desk.fleet.vault.read(f"transit/keys/{name}")["data"]["exportable"] is False
    assert await token_status(desk, tenant) == 200


async def test_a_key_that_is_there_already(desk: OperatorDesk) -> None:
    """Without a private key, the key in Vault is used, and an import that was run twice changes nothing."""
    tenant = desk.tenant(kind="jwt")
    name = f"ims-{tenant.org[:24]}"
    assert (await desk.imports(desk.file(adobe_files.aem_service_credentials(tenant)), "--transit", name)).code == 0
    desk.fleet.vault.remove(tenant.org, "default")
    file = desk.file(adobe_files.jwt_project(tenant))
    first, second = await desk.imports(file, "--transit", name), await desk.imports(file, "--transit", name)

    assert (first.code, second.code, "Nothing to do" in second.stdout) == (0, 0, True), first
    assert await token_status(desk, tenant) == 200


async def test_a_stored_key_that_moves(desk: OperatorDesk) -> None:
    """If the document had the key before, the command says that its older versions still do."""
    tenant = desk.tenant(kind="jwt")
    file = desk.file(adobe_files.aem_service_credentials(tenant))
    assert (await desk.imports(file)).code == 0
    moved = await desk.imports(file, "--transit", "ims-{org}", "--yes")

    assert moved.code == 0, moved
    assert "private_key: sha256 " in moved.stdout
    assert "-> absent" in moved.stdout
    assert "Older versions of the document still have a private key: destroy them" in moved.stdout


async def test_nothing_moves_if_ims_refuses_the_credential(desk: OperatorDesk) -> None:
    """The key signs on this machine until IMS has accepted it; if IMS refuses, it does not move, nor in a dry run."""
    refused = desk.tenant(kind="jwt", known_secrets=("p8e-canary-another",))
    tried = desk.tenant(kind="jwt")
    first = await desk.imports(desk.file(adobe_files.aem_service_credentials(refused)), "--transit", "ims-{org}")
    second = await desk.imports(
        desk.file(adobe_files.aem_service_credentials(tried)), "--transit", "ims-{org}", "--dry-run"
    )

    assert (first.code, second.code) == (1, 0), second
    assert [key_status(desk, f"ims-{tenant.org[:24]}") for tenant in (refused, tried)] == [404, 404]


async def test_a_key_of_another_certificate_in_vault(desk: OperatorDesk) -> None:
    """A key in Vault that does not belong to the certificate is refused before IMS is asked."""
    tenant = desk.tenant(kind="jwt")
    name = f"foreign-{tenant.org[:24]}"
    desk.fleet.vault.transit_key(name)
    (desk.folder / "certificate.crt").write_text(key_pair().certificate)
    file = desk.file(adobe_files.jwt_project(tenant))
    finished = await desk.imports(file, "--transit", name, "--certificate", "certificate.crt")

    assert finished.code == 2, finished
    assert "has a defect in certificate: does not belong to transit_key" in finished.stderr
    assert desk.fleet.exchanges(tenant) == []


async def test_the_name_of_another_key(desk: OperatorDesk) -> None:
    """A key is never moved over another one, and then no document is written."""
    tenant = desk.tenant(kind="jwt")
    name = f"taken-{tenant.org[:24]}"
    desk.fleet.vault.transit_key(name)
    finished = await desk.imports(desk.file(adobe_files.aem_service_credentials(tenant)), "--transit", name)

    assert finished.code == 2, finished
    assert "is the name of another key in Vault; choose a new name" in finished.stderr
    assert desk.versions(tenant) == 0


async def test_a_login_that_may_not_sign(desk: OperatorDesk) -> None:
    """If the moved key cannot be used, the sentence says where it is and what to do; the same command then finishes."""
    tenant = desk.tenant(kind="jwt")
    vault, token = desk.fleet.vault, desk.env["BROKER_VAULT_TOKEN"]
    vault.policy("no-sign", ("transit/sign/+", "deny"))
    desk.env["BROKER_VAULT_TOKEN"] = vault.token("editor", "mover", "no-sign")
    file = desk.file(adobe_files.aem_service_credentials(tenant))
    finished = await desk.imports(file, "--transit", "ims-{org}")

    assert finished.code == 1, finished
    assert f"in Vault's transit engine as ims-{tenant.org[:24]} now, and no document was written" in finished.stderr
    assert desk.versions(tenant) == 0
    desk.env["BROKER_VAULT_TOKEN"] = token
    assert (await desk.imports(file, "--transit", "ims-{org}")).code == 0
    assert await token_status(desk, tenant) == 200


async def test_many_keys(desk: OperatorDesk) -> None:
    """For many credentials the name has the place of the org; files that need no key are imported as well."""
    tenants = [desk.tenant(kind=kind) for kind in ("jwt", "oauth_server_to_server", "jwt")]
    (desk.folder / "orgs.jsonl").write_text("".join(f"{json.dumps(tenant.document())}\n" for tenant in tenants))
    wrong = await desk.imports("orgs.jsonl", "--transit", "x")
    finished = await desk.imports("orgs.jsonl", "--transit", "many.{org}")

    assert (wrong.code, "--transit must have {org}" in wrong.stderr) == (2, True)
    assert finished.code == 0, finished
    assert [key_status(desk, f"many.{tenant.org[:24]}") for tenant in tenants] == [200, 404, 200]
    assert [await token_status(desk, tenant) for tenant in tenants] == [200] * 3


async def test_without_vault(desk: OperatorDesk) -> None:
    """The directory store has no transit engine: the sentence names the setting."""
    (desk.folder / "credentials").mkdir()
    tenant = desk.tenant(kind="jwt")
    desk.env = {
        "BROKER_CREDENTIAL_STORE": "directory",
        "BROKER_CREDENTIAL_DIR": str(desk.folder / "credentials"),
        "BROKER_IMS_BASE_URLS": desk.fleet.sandbox.base_url,
    }
    finished = await desk.imports(desk.file(adobe_files.aem_service_credentials(tenant)), "--transit", "x")

    assert finished.code == 2, finished
    assert "needs Vault: BROKER_CREDENTIAL_STORE=vault" in finished.stderr
