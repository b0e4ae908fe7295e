"""`org import` of many credentials as a real process: 1,000 orgs, killed half-way and resumed."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support import adobe_files
from tests.support.fleet import Fleet
from tests.support.operator_desk import OperatorDesk
from tests.support.processes import Finished, running_cli
from tests.support.tenants import SCOPES, Tenant
from tests.support.terminal import run_in_terminal
from tests.support.waiting import until

COUNT = 1_000


@pytest.fixture
def desk(fleet: Fleet, tmp_path: Path) -> OperatorDesk:
    """A desk of its own, in front of the shared fleet."""
    return OperatorDesk(fleet, tmp_path)


def lines_of(desk: OperatorDesk, documents: Sequence[dict[str, Any]]) -> str:
    """A file with one document per line; its name."""
    (desk.folder / "orgs.jsonl").write_text("".join(f"{json.dumps(document)}\n" for document in documents))
    return "orgs.jsonl"


def report_of(desk: OperatorDesk) -> list[dict[str, Any]]:
    """The lines of the report."""
    path = desk.folder / "report.jsonl"
    whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
    return [json.loads(line) for line in whole.splitlines()]


async def test_a_thousand_orgs_killed_half_way(desk: OperatorDesk) -> None:
    """After `kill -9` half-way the same command imports the rest: no org is lost, and none is written twice."""
    tenants = [desk.tenant() for _ in range(COUNT)]
    words = (lines_of(desk, [tenant.document() for tenant in tenants]), "--report", "report.jsonl")
    path = desk.folder / "report.jsonl"
    async with running_cli(*desk.words(*words), env=desk.env, cwd=desk.folder) as running:
        await until(lambda: path.exists() and path.read_bytes().count(b"\n") >= COUNT // 2, seconds=120)
        running.send(signal.SIGKILL)
        assert (await running.ended()).code == -signal.SIGKILL
    before = len(report_of(desk))
    finished = await desk.imports(*words, "--json")

    answer = json.loads(finished.stdout)
    assert (finished.code, answer["items"], answer["failures"]) == (0, COUNT, []), finished
    assert answer["outcomes"]["already_done"] == before < COUNT
    report = report_of(desk)
    assert (len(report), len({line["item"] for line in report})) == (COUNT, COUNT)
    assert {line["org"] for line in report} == {tenant.org for tenant in tenants}
    # What was written by the killed run and not reported is found unchanged by the second one.
    assert Counter(line["outcome"] for line in report)["unchanged"] <= 8
    versions = Counter(
        desk.fleet.vault.read(f"secret/metadata/ims/{tenant.org}/default")["data"]["current_version"]
        for tenant in tenants
    )
    assert versions == {1: COUNT}
    assert (await desk.fleet.replicas[0].token(tenants[-1].org)).status == 200
    print(f"{COUNT - before} orgs in {answer['seconds']} s: {(COUNT - before) / answer['seconds']:.0f}/s")
    _shows_no_secret(finished, desk, tenants)


async def test_a_folder_of_adobes_files(desk: OperatorDesk) -> None:
    """A folder may mix all kinds of files, with keys next to them; failures are counted by their sentence."""
    folder = desk.folder / "downloads"
    folder.mkdir()
    aem, oauth, jwt = (desk.tenant(kind=kind) for kind in ("jwt", "oauth_server_to_server", "jwt"))
    refused = [desk.tenant(known_secrets=("p8e-canary-another",)) for _ in range(2)]
    desk.file(adobe_files.aem_service_credentials(aem), "downloads/aem.json")
    desk.file(adobe_files.oauth_project(oauth), "downloads/oauth.json")
    desk.file(adobe_files.jwt_project(jwt), "downloads/jwt.json")
    (folder / "jwt.key").write_text(jwt.key.pkcs8)
    for number, tenant in enumerate(refused):
        desk.file(adobe_files.oauth_project(tenant), f"downloads/refused-{number}.json")
    desk.file(adobe_files.jwt_project(desk.tenant(kind="jwt")), "downloads/without-key.json")

    finished = await desk.imports("downloads", "--json")
    answer = json.loads(finished.stdout)
    assert (finished.code, answer["outcomes"]) == (1, {"created": 3, "failed": 3})
    assert [(one["code"], one["count"], one["items"]) for one in answer["failures"]] == [
        ("credential_rejected", 2, ["refused-0.json", "refused-1.json"]),
        ("unusable_file", 1, ["without-key.json"]),
    ]
    for tenant in (aem, oauth, jwt):
        assert (await desk.fleet.replicas[0].token(tenant.org)).status == 200
    again = await desk.imports("downloads")
    assert "3 unchanged" in again.stdout
    assert "2 failed: IMS refused this credential: invalid_client." in again.stdout
    _shows_no_secret(finished, desk, [aem, oauth, jwt, *refused])


@pytest.mark.parametrize("second", ["b", "0"])
async def test_a_rerun_knows_what_the_run_before_imported(desk: OperatorDesk, second: str) -> None:
    """Of two files for one credential the one that was imported stays, also if the run is repeated with `--yes`."""
    (desk.folder / "downloads").mkdir()
    tenant = desk.tenant()
    desk.file(tenant.document(), "downloads/a.json")
    words = ("downloads", "--report", "report.jsonl", "--yes")
    assert (await desk.imports(*words)).code == 0
    desk.file({**tenant.document(), "scopes": SCOPES[:1]}, f"downloads/{second}.json")

    for _ in range(2):
        finished = await desk.imports(*words)
        assert finished.code == 1, finished
        assert ": 1 already done, 1 failed.\n" in finished.stdout
        assert f"1 failed: The same org and credential as a.json. ({second}.json)" in finished.stdout
    assert desk.versions(tenant) == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["empty"], "empty has nothing to import: the folder has no .json file."),
        (["empty.jsonl"], "empty.jsonl has nothing to import: the file is empty."),
        (["missing.jsonl"], "missing.jsonl cannot be read"),
        (["empty", "--org", "0123456789ABCDEF01234567@AdobeOrg"], "A folder or a .jsonl file takes none of --org"),
        (["one.json", "--report", "report.jsonl"], "--report is for a folder"),
    ],
)
async def test_a_mistake_with_many_files_is_one_sentence(desk: OperatorDesk, words: list[str], expected: str) -> None:
    """An empty folder, a missing file and an option that does not fit are exit status 2 and one sentence."""
    (desk.folder / "empty").mkdir()
    (desk.folder / "empty.jsonl").touch()
    desk.file({}, "one.json")
    finished = await desk.imports(*words)

    assert (finished.code, len(finished.stderr.splitlines())) == (2, 1), finished
    assert finished.stderr.startswith(f"Error: {expected}")


def _shows_no_secret(finished: Finished, desk: OperatorDesk, tenants: Sequence[Tenant]) -> None:
    path = desk.folder / "report.jsonl"
    shown = finished.stdout + finished.stderr + (path.read_text() if path.exists() else "")
    assert "\x1b" not in shown
    assert not any(secret in shown for tenant in tenants for secret in tenant.client_secrets)


@pytest.mark.parametrize("colours", [True, False])
async def test_progress_at_a_terminal(desk: OperatorDesk, colours: bool) -> None:
    """At a terminal there is a bar with counts, without colours if NO_COLOR is set."""
    file = lines_of(desk, [desk.tenant().document() for _ in range(3)])
    env = desk.env if colours else {**desk.env, "NO_COLOR": "1"}
    finished = await run_in_terminal(*desk.words(file), answers={}, env=env, cwd=desk.folder)

    assert finished.code == 0, finished
    assert "3/3" in finished.stdout
    assert "3 credentials in" in finished.stdout
    assert ("\x1b[3" in finished.stdout) == colours
