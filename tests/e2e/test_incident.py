"""`purge` and `incident contain`, with brokers that hand tokens out and audit logs that show to whom."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

from tests.support.children import free_port
from tests.support.fleet import Fleet
from tests.support.operator import Operator
from tests.support.processes import CLI, Finished, environment, run_cli
from tests.support.tenants import Tenant
from tests.support.waiting import until


async def run_with(token: str, *words: str, folder: Path, **env: str) -> Finished:
    """Run a command with a token on its standard input."""
    process = await asyncio.create_subprocess_exec(
        *CLI, *words, env={**environment(folder), **env}, cwd=folder,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, err = await process.communicate(token.encode())
    return Finished(process.returncode or 0, out.decode(), err.decode())


async def logged_token(fleet: Fleet, tenant: Tenant) -> str:
    """A token of the first replica whose hand-out is in its audit log already."""
    replica = fleet.replicas[0]
    token = str((await replica.token(tenant.org)).json["access_token"])
    await until(lambda: any(line.get("org") == tenant.org for line in replica.audit_lines()), 10)
    return token


class TestPurge:
    """``purge``."""

    async def test_every_replica_forgets_the_token(self, fleet: Fleet) -> None:
        """After the command each replica hands out another token."""
        tenant, env = fleet.tenant(), {"ITB_URL": fleet.replicas[0].url, "ITB_API_KEY": fleet.key}
        before = (await fleet.replicas[1].token(tenant.org)).json["access_token"]
        finished = await run_cli("purge", "--org", tenant.org, "--json", env=env)
        assert json.loads(finished.stdout) == {
            "org": tenant.org,
            "credential": "default",
            "brokers": [{"url": fleet.replicas[0].url, "error": None}],
        }
        await asyncio.sleep(2.5)  # the promise: within 2 s on every replica
        assert (await fleet.replicas[1].token(tenant.org)).json["access_token"] != before

    async def test_a_region_that_does_not_answer_is_named(self, fleet: Fleet) -> None:
        """The other regions purge all the same, the result of each is shown, and the exit status is 1."""
        tenant, nowhere = fleet.tenant(), f"http://127.0.0.1:{free_port()}"
        env = {"ITB_URLS": f"{nowhere},{fleet.replicas[0].url}", "ITB_API_KEY": fleet.key}
        finished = await run_cli("purge", "--org", tenant.org, "--everywhere", env=env)
        assert finished.code == 1
        assert f"{tenant.org} at {fleet.replicas[0].url}: purged" in finished.stdout
        assert f"{tenant.org} at {nowhere}: not purged: The broker at" in finished.stderr

    async def test_everywhere_needs_a_list(self) -> None:
        """Without a list of regions nothing is purged, and the sentence names the variable."""
        finished = await run_cli("purge", "--org", "A" * 24 + "@AdobeOrg", "--everywhere", env={"ITB_API_KEY": "x"})
        assert (finished.code, "ITB_URLS" in finished.stderr) == (2, True)


class TestIncident:
    """``incident contain``."""

    async def test_a_leaked_token_is_contained_within_a_minute(self, fleet: Fleet, tmp_path: Path) -> None:
        """From the token alone: who received it, a purge, the next steps, and until when Adobe accepts it."""
        tenant, replica = fleet.tenant(), fleet.replicas[0]
        token = await logged_token(fleet, tenant)
        env = {"ITB_URL": replica.url, "ITB_API_KEY": fleet.key}
        begun = time.monotonic()
        finished = await run_with(
            f"Bearer {token}\n", "incident", "contain", "--token-stdin", "--audit-log", str(replica.audit),
            folder=tmp_path, **env,
        )  # fmt: skip
        assert time.monotonic() - begun < 60
        assert finished.code == 0, finished
        assert "tester at /token" in finished.stdout
        assert f"{tenant.org} at {replica.url}: done" in finished.stdout
        assert f"secret rotate {tenant.org} --now" in finished.stdout
        assert "for another 24.0 hours" in finished.stdout or "for another 23.9 hours" in finished.stdout
        assert token not in finished.stdout + finished.stderr
        assert (await replica.token(tenant.org)).json["access_token"] != token

    async def test_the_report_in_json(self, fleet: Fleet, tmp_path: Path) -> None:
        """`--json` prints one object with everything that the report says."""
        tenant, replica = fleet.tenant(), fleet.replicas[0]
        token = await logged_token(fleet, tenant)
        finished = await run_with(
            token, "incident", "contain", "--token-stdin", "--audit-log", str(replica.audit), "--json",
            folder=tmp_path, ITB_URL=replica.url, ITB_API_KEY=fleet.key,
        )  # fmt: skip
        answer = json.loads(finished.stdout)
        assert set(answer) == {
            *("token_sha256", "client_id", "expires_at", "received_by", "searched", "purged", "replaced", "complete"),
        }
        assert (answer["client_id"], answer["complete"]) == (tenant.client_id, True)
        assert [receiver["caller"] for receiver in answer["received_by"]] == ["tester"]
        assert answer["purged"][0]["org"] == tenant.org

    async def test_without_a_trace_the_org_is_asked_for(self, fleet: Fleet, tmp_path: Path) -> None:
        """A token that no audit log shows is purged by its org, and the report does not claim to be complete."""
        tenant, replica = fleet.tenant(), fleet.replicas[0]
        token = (await replica.token(tenant.org)).json["access_token"]
        env = {"ITB_URL": replica.url, "ITB_API_KEY": fleet.key}
        words = ("incident", "contain", "--token-stdin")
        asked = await run_with(token, *words, folder=tmp_path, **env)
        assert (asked.code, "--audit-log FILE" in asked.stderr) == (1, True)
        done = await run_with(token, *words, "--org", tenant.org, folder=tmp_path, **env)
        assert (done.code, "unknown: no audit log was given" in done.stdout) == (1, True)
        assert f"{tenant.org} at {replica.url}: done" in done.stdout

    async def test_what_is_not_a_token_is_not_repeated(self, fleet: Fleet, tmp_path: Path) -> None:
        """Other input is refused, and its text is not printed."""
        finished = await run_with(
            "two words and more\n", "incident", "contain", "--token-stdin", "--org", Tenant("").org,
            folder=tmp_path, ITB_API_KEY=fleet.key,
        )  # fmt: skip
        assert finished.code == 2
        assert "Standard input must be the token" in finished.stderr
        assert "two words" not in finished.stderr


class TestRotate:
    """``incident contain --rotate``."""

    async def contained(self, operator: Operator, tenant: Tenant, folder: Path, *words: str, **env: str) -> Finished:
        """Contain a token of the tenant, and replace its secret or key."""
        fleet = operator.fleet
        token = await logged_token(fleet, tenant)
        return await run_with(
            token, "incident", "contain", "--token-stdin", "--audit-log", str(fleet.replicas[0].audit), "--rotate",
            "--console-url", fleet.sandbox.base_url, *words,
            folder=folder, ITB_URL=fleet.replicas[0].url, ITB_API_KEY=fleet.key, **{**operator.env, **env},
        )  # fmt: skip

    async def test_the_secret_is_replaced_after_the_purge(self, fleet: Fleet, tmp_path: Path) -> None:
        """The token is purged, the old secret is deleted at Adobe, and the broker vends with the new one."""
        operator = Operator(fleet)
        tenant = operator.managed()
        finished = await self.contained(operator, tenant, tmp_path)
        assert finished.code == 0, finished
        assert f"{tenant.org} at {fleet.replicas[0].url}: done" in finished.stdout
        assert f"{tenant.org}: the secret is replaced, and the old one is deleted at Adobe" in finished.stdout
        assert "secret rotate" not in finished.stdout
        assert "neither a purge nor a new secret ends it" in finished.stdout
        [stored] = operator.stored(tenant)["client_secrets"]
        assert (stored in tenant.client_secrets, operator.known_secrets(tenant)) == (False, 1)
        assert stored not in finished.stdout + finished.stderr
        assert (await fleet.replicas[0].token(tenant.org)).status == 200

    async def test_what_needs_a_person_is_named_with_its_command(self, fleet: Fleet, tmp_path: Path) -> None:
        """A document without console ids and a JWT credential are purged; the report has the reason and the command."""
        operator = Operator(fleet)
        for kind, reason, command in (
            ("oauth_server_to_server", "no console_org_id", "secret rotate {} --new-secret-file -"),
            ("jwt", "upload the new certificate", "cert rotate {}"),
        ):
            tenant = fleet.tenant(kind=kind)
            finished = await self.contained(operator, tenant, tmp_path, "--json")
            answer = json.loads(finished.stdout)
            assert (finished.code, answer["complete"], len(answer["received_by"])) == (1, False, 1), finished
            [replaced] = answer["replaced"]
            assert (replaced["org"], replaced["status"], reason in replaced["reason"]) == (tenant.org, "by_hand", True)
            assert replaced["commands"][0] == f"ims-token-broker {command.format(tenant.org)}"
            assert answer["purged"][0]["brokers"] == [{"url": fleet.replicas[0].url, "error": None}]

    async def test_the_secret_of_an_app_is_left_to_a_person(self, fleet: Fleet, tmp_path: Path) -> None:
        """A leaked token does not change a secret that other orgs share: the report has the command with the app."""
        operator = Operator(fleet)
        org = Tenant(fleet.sandbox.base_url, kind="enterprise_web_app")
        fleet.register(org)
        name, shared = f"app-{org.client_id}", org.document()
        app = {field: shared[field] for field in ("client_id", "client_secrets", "scopes", "ims_base_url")}
        fleet.vault.put("_apps", name, app)
        fleet.vault.put(org.org, "default", {"kind": org.kind, "org_id": org.org, "app": name})
        finished = await self.contained(operator, org, tmp_path)
        assert finished.code == 1, finished
        assert f"{org.org} at {fleet.replicas[0].url}: done" in finished.stdout
        assert f"Its secret is that of the app {name}" in finished.stdout
        assert f"secret rotate --app {name} --prove-with {org.org} --now" in finished.stdout
        assert operator.known_secrets(org) == 1

    async def test_a_failure_does_not_cost_the_report(self, fleet: Fleet, tmp_path: Path) -> None:
        """If the variables are wrong or Adobe's API refuses, the purge is reported all the same, with the command."""
        operator = Operator(fleet)
        first, second = operator.managed(), operator.managed()
        wrong = await self.contained(operator, first, tmp_path, BROKER_NO_SUCH="1")
        away = await self.contained(operator, second, tmp_path, "--console-url", f"http://127.0.0.1:{free_port()}")
        for tenant, finished in ((first, wrong), (second, away)):
            assert finished.code == 1, finished
            assert f"{tenant.org} at {fleet.replicas[0].url}: done" in finished.stdout
            assert f"{tenant.org}: NOT REPLACED: " in finished.stdout
            command = f"ims-token-broker secret rotate {tenant.org} --now"
            assert f"Replace the secret or key of {tenant.org}: {command}" in finished.stdout
        assert "BROKER_NO_SUCH" in wrong.stdout
