"""`org remove` as a real process, over a real Vault and a running broker."""

from __future__ import annotations

import json
import shlex
import signal
from pathlib import Path

import pytest

from tests.support.fleet import Fleet
from tests.support.operator_desk import OperatorDesk
from tests.support.processes import run_cli
from tests.support.tenants import Tenant
from tests.support.terminal import run_in_terminal


@pytest.fixture
def desk(fleet: Fleet, tmp_path: Path) -> OperatorDesk:
    """A desk of its own, in front of the shared fleet."""
    return OperatorDesk(fleet, tmp_path)


async def status_of(desk: OperatorDesk, tenant: Tenant, replica: int = 0) -> int:
    """What the broker answers for the tenant."""
    return (await desk.fleet.replicas[replica].token(tenant.org)).status


async def test_a_removed_credential(desk: OperatorDesk) -> None:
    """After a removal, cached tokens are served until they are purged, and then there is no credential."""
    tenant = desk.fleet.tenant()
    assert await status_of(desk, tenant) == 200
    finished = await run_cli("org", "remove", tenant.org, "--yes", env=desk.env)

    assert finished.code == 0, finished
    assert finished.stdout.startswith(f"Removed {tenant.org}, credential default (version 1).")
    assert f"ims-token-broker purge --org {tenant.org} --credential default" in finished.stdout
    assert await status_of(desk, tenant) == 200
    await desk.fleet.replicas[0].purge(tenant.org)
    assert await status_of(desk, tenant) == 404


async def test_a_removal_can_be_undone_by_the_command_that_it_names(desk: OperatorDesk) -> None:
    """The answer has the command of Vault that brings the document back; a second removal finds nothing."""
    tenant = desk.fleet.tenant()
    finished = await run_cli("org", "remove", tenant.org, "--yes", "--json", env=desk.env)
    answer = json.loads(finished.stdout)

    assert list(answer) == ["org", "credential", "version", "destroyed", "undo"]
    assert (answer["version"], answer["destroyed"]) == ("1", False)
    undo = shlex.split(answer["undo"])
    assert undo == ["vault", "kv", "undelete", "-mount=secret", "-versions=1", f"ims/{tenant.org}/default"]
    again = await run_cli("org", "remove", tenant.org, "--yes", env=desk.env)
    assert (again.code, again.stderr) == (1, f"Error: Nothing is stored for {tenant.org}, credential default.\n")
    desk.fleet.vault.write(f"secret/undelete/{undo[-1]}", versions=[1])
    assert await status_of(desk, tenant) == 200


async def test_what_remains_after_a_destruction(desk: OperatorDesk) -> None:
    """With --destroy the answer says that only a backup can restore the document."""
    tenant = desk.fleet.tenant()
    desk.fleet.store(tenant)
    finished = await run_cli("org", "remove", tenant.org, "--yes", "--destroy", env=desk.env)

    assert finished.code == 0, finished
    assert finished.stdout.endswith("\nNothing remains of the document; only a backup can restore it.\n")


async def test_destroyed_versions_are_gone(desk: OperatorDesk) -> None:
    """With --destroy nothing remains of it or of what a rotation or migration kept, and there is no undo."""
    tenant = desk.fleet.tenant()
    desk.fleet.store(tenant)
    for folder in ("_rotations", "_certificates", "_migrations"):
        desk.fleet.vault.write(f"secret/data/ims/{folder}/{tenant.org}/default", data={"canary": "1"})
    finished = await run_cli("org", "remove", tenant.org, "--yes", "--destroy", "--json", env=desk.env)

    assert (finished.code, json.loads(finished.stdout)["undo"]) == (0, None), finished
    root = desk.fleet.vault.root_token
    for folder in ("", "_rotations/", "_certificates/", "_migrations/"):
        path = f"{folder}{tenant.org}/default"
        assert desk.fleet.vault.status_as(root, f"secret/metadata/ims/{path}") == 404


@pytest.mark.parametrize(("typed", "code"), [("yes", 1), ("", 1), (None, 0)])
async def test_a_person_types_the_org_id(desk: OperatorDesk, typed: str | None, code: int) -> None:
    """At a terminal the exact org id removes it; anything else leaves it as it is."""
    tenant = desk.fleet.tenant()
    answers = {"Type the org id to remove it: ": tenant.org if typed is None else f"{typed}\x04"}
    finished = await run_in_terminal("org", "remove", tenant.org, answers=answers, env=desk.env, cwd=desk.folder)

    assert finished.code == code, finished
    assert "is stored in version 1" in finished.stdout
    assert await status_of(desk, tenant) == (404 if code == 0 else 200)


async def test_without_a_terminal_it_needs_a_yes(desk: OperatorDesk) -> None:
    """A script without --yes removes nothing."""
    tenant = desk.fleet.tenant()
    finished = await run_cli("org", "remove", tenant.org, env=desk.env)

    assert (finished.code, "give --yes" in finished.stderr) == (2, True)
    assert await status_of(desk, tenant) == 200


async def test_another_credential_of_the_org_stays(desk: OperatorDesk) -> None:
    """Only the named credential is removed."""
    tenant = desk.fleet.tenant()
    desk.fleet.vault.put(tenant.org, "second", tenant.document())
    finished = await run_cli("org", "remove", tenant.org, "--credential", "second", "--yes", env=desk.env)

    assert finished.code == 0, finished
    assert await status_of(desk, tenant) == 200
    assert desk.fleet.vault.status_as(desk.fleet.vault.root_token, f"secret/data/ims/{tenant.org}/second") == 404


async def test_an_org_that_is_none(desk: OperatorDesk) -> None:
    """A malformed org id is exit status 2 and one sentence."""
    finished = await run_cli("org", "remove", "acme", "--yes", env=desk.env)

    assert (finished.code, len(finished.stderr.splitlines())) == (2, 1)
    assert "org must be an IMS org id" in finished.stderr


async def test_ctrl_c_at_the_question_changes_nothing(desk: OperatorDesk) -> None:
    """Ctrl-C at the question ends the command with 130, without a message, and the credential stays."""
    tenant = desk.fleet.tenant()
    answers = {"Type the org id to remove it: ": signal.SIGINT}
    ended = await run_in_terminal("org", "remove", tenant.org, answers=answers, env=desk.env, cwd=desk.folder)
    assert (ended.code, "Aborted" in ended.stdout) == (130, False)
    assert await status_of(desk, tenant) == 200
