"""``cert rotate`` by real processes, over a real Vault, under a broker that vends all the time."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.fleet import Fleet
from tests.support.keys import key_pair
from tests.support.operator_desk import OperatorDesk
from tests.support.processes import Finished, run_cli, running_cli
from tests.support.tenants import Tenant
from tests.support.traffic import traffic
from tests.support.wire import Reply

RATE = 50.0
"""Requests per second over all replicas."""

STEPS = ("prepared", "accepted", "written", "proven")
"""The steps that the command reports, in order."""


@pytest.fixture
def desk(fleet: Fleet, tmp_path: Path) -> OperatorDesk:
    """An operator of the shared fleet."""
    return OperatorDesk(fleet, tmp_path)


def _stored(desk: OperatorDesk, tenant: Tenant) -> dict[str, Any]:
    return dict(desk.fleet.vault.read(f"secret/data/ims/{tenant.org}/default")["data"]["data"])


def _upload(desk: OperatorDesk, tenant: Tenant, *certificates: str) -> None:
    """Let Adobe have these certificates."""
    desk.fleet.sandbox.put_client({**tenant.client(), "certificates": list(certificates)})


async def _rotate(desk: OperatorDesk, tenant: Tenant, *words: str) -> Finished:
    return await run_cli("cert", "rotate", tenant.org, *words, env=desk.env, cwd=desk.folder)


def _shows_no_key(finished: Finished) -> bool:
    return "PRIVATE KEY" not in finished.stdout + finished.stderr and "eyJ" not in finished.stdout + finished.stderr


async def test_a_certificate_is_replaced_under_load_without_a_failure(desk: OperatorDesk) -> None:
    """While callers ask and purge, the new certificate is uploaded, used, and the old one removed: every answer is 200.

    The answer names both certificates, and when the old one may be removed.
    """
    tenant = desk.fleet.tenant(kind="jwt")

    async def ask(number: int) -> Reply:
        replica = desk.fleet.replicas[number % 3]
        if number % 25 == 0:
            await replica.purge(tenant.org)
        return await replica.token(tenant.org)

    words = ("cert", "rotate", tenant.org, "--out", "new.crt", "--json")
    async with traffic(ask, RATE) as seen:
        async with running_cli(*words, env=desk.env, cwd=desk.folder) as run:
            await run.stderr.line("upload the new certificate", 60)
            new = (desk.folder / "new.crt").read_text()
            _upload(desk, tenant, tenant.key.certificate, new)
            finished = await run.ended()
        await asyncio.sleep(0.5)
        _upload(desk, tenant, new)
        await asyncio.sleep(0.5)
    assert seen.failures() == []
    assert len(seen.replies) > RATE
    assert finished.code == 0
    answer = json.loads(run.stdout.text)
    assert set(answer) == {"org", "credential", "status", "new", "old", "old_removable_from"}
    assert answer["status"] == "replaced"
    assert set(answer["new"]) == set(answer["old"]) == {"sha1", "sha256", "not_after"}
    assert answer["new"] != answer["old"]
    stored = _stored(desk, tenant)
    assert stored["certificate"] == new
    assert {**stored, **tenant.document()} == tenant.document()
    assert stored["private_key"].splitlines()[1] not in run.stdout.text + run.stderr.text
    assert (
        desk.fleet.vault.status_as(
            desk.env["BROKER_VAULT_TOKEN"], f"secret/data/ims/_certificates/{tenant.org}/default"
        )
        == 404
    )


@pytest.mark.parametrize("step", STEPS)
async def test_killed_after_any_step_the_next_run_finishes(desk: OperatorDesk, step: str) -> None:
    """`kill -9` when a step is reported: the tenant still vends, and the next run ends with the new certificate."""
    tenant = desk.fleet.tenant(kind="jwt")
    first = await _rotate(desk, tenant, "--no-wait", "--json") if step != "prepared" else None
    if first is not None:
        answer = json.loads(first.stdout)
        assert (first.code, answer["status"]) == (0, "awaiting_upload")
        assert set(answer) == {"org", "credential", "status", "new", "certificate", "reason"}
        _upload(desk, tenant, tenant.key.certificate, answer["certificate"])
    async with running_cli("cert", "rotate", tenant.org, env=desk.env, cwd=desk.folder) as run:
        await run.stderr.line(f": {step}$", 60)
        run.send(signal.SIGKILL)
        await run.ended()
    replica = desk.fleet.replicas[0]
    await replica.purge(tenant.org)
    assert (await replica.token(tenant.org)).status == 200
    waiting = await _rotate(desk, tenant, "--no-wait", "--json")
    answer = json.loads(waiting.stdout)
    if answer["status"] == "awaiting_upload":
        _upload(desk, tenant, tenant.key.certificate, answer["certificate"])
        waiting = await _rotate(desk, tenant, "--json")
        answer = json.loads(waiting.stdout)
    assert (waiting.code, answer["status"]) == (0, "replaced"), waiting
    assert _shows_no_key(waiting)
    certificate = _stored(desk, tenant)["certificate"]
    assert certificate != tenant.key.certificate
    _upload(desk, tenant, certificate)
    await replica.purge(tenant.org)
    assert (await replica.token(tenant.org)).status == 200


async def test_without_an_upload_it_ends_and_says_how_to_go_on(desk: OperatorDesk) -> None:
    """When the time is over, the old key is in use, the status is 1, and the certificate is on standard output."""
    tenant = desk.fleet.tenant(kind="jwt")
    finished = await _rotate(desk, tenant, "--timeout", "0s")
    assert finished.code == 1
    assert finished.stdout.startswith("-----BEGIN CERTIFICATE-----")
    assert "upload the new certificate" in finished.stderr
    assert "not finished; the old key is in use. After the upload, run the command again." in finished.stderr
    assert _stored(desk, tenant) == tenant.document()
    forgotten = await _rotate(desk, tenant, "--discard")
    assert (forgotten.code, "the rotation is forgotten" in forgotten.stdout) == (0, True)
    assert _shows_no_key(finished)


async def test_a_pair_of_the_operator_is_used(desk: OperatorDesk) -> None:
    """`--private-key` and `--certificate` take a pair that exists; one that does not belong together is refused."""
    tenant = desk.fleet.tenant(kind="jwt")
    new, other = key_pair("operator"), key_pair("other")
    for name, text in (("new.key", new.pkcs8), ("new.crt", new.certificate), ("other.crt", other.certificate)):
        (desk.folder / name).write_text(text)
    wrong = await _rotate(desk, tenant, "--private-key", "new.key", "--certificate", "other.crt")
    assert (wrong.code, "does not belong to it" in wrong.stderr) == (2, True), wrong
    half = await _rotate(desk, tenant, "--private-key", "new.key")
    assert (half.code, "Give both --private-key and --certificate" in half.stderr) == (2, True), half
    _upload(desk, tenant, tenant.key.certificate, new.certificate)
    done = await _rotate(desk, tenant, "--private-key", "new.key", "--certificate", "new.crt")
    assert (done.code, _stored(desk, tenant)["private_key"]) == (0, new.pkcs8), done
    assert "is in use. From " in done.stdout
    assert "you may remove the old certificate (SHA-1 " in done.stdout
