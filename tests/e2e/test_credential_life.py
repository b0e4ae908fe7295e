"""Credentials changed by real commands, over a real Vault, under a broker that vends all the time."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from pathlib import Path

import pytest

from tests.support.documents import without
from tests.support.fleet import Fleet
from tests.support.operator import Operator
from tests.support.processes import Finished, run_cli, running_cli
from tests.support.tenants import Tenant, new_secret
from tests.support.traffic import traffic
from tests.support.waiting import until
from tests.support.wire import Reply

RATE = 50.0
"""Requests per second over all replicas."""


@pytest.fixture
def operator(fleet: Fleet) -> Operator:
    """An operator of the shared fleet."""
    return Operator(fleet)


def shows_no_secret(finished: Finished, *secrets: str) -> None:
    """No secret and no token is in the output."""
    said = finished.stdout + finished.stderr
    assert not [secret for secret in secrets if secret in said]
    assert "eyJ" not in said


class TestSecretRotate:
    """``secret rotate``."""

    async def test_a_secret_is_rotated_under_load_without_a_failure(self, operator: Operator) -> None:
        """While callers ask and purge, the secret is replaced, and every answer is 200."""
        tenant = operator.managed()

        async def ask(number: int) -> Reply:
            replica = operator.fleet.replicas[number % 3]
            if number % 25 == 0:
                await replica.purge(tenant.org)
            return await replica.token(tenant.org)

        async with traffic(ask, RATE) as seen:
            finished = await operator.rotate(tenant.org, "--now", "--json")
            await asyncio.sleep(1.0)
        assert seen.failures() == []
        assert len(seen.replies) > RATE
        [result] = json.loads(finished.stdout)["results"]
        assert (finished.code, result["status"], result["org"]) == (0, "rotated", tenant.org), finished
        assert set(result) == {"org", "credential", "status", "new", "deleted"}
        [new] = operator.stored(tenant)["client_secrets"]
        assert new not in tenant.client_secrets
        assert operator.known_secrets(tenant) == 1
        shows_no_secret(finished, new, *tenant.client_secrets)

    async def test_a_rotation_that_waits_is_finished_by_a_later_run(self, operator: Operator) -> None:
        """With `--no-wait` the first run says until when both secrets are kept, and a later one deletes the old one."""
        tenant = operator.managed()
        first = await operator.rotate(tenant.org, "--no-wait")
        assert first.code == 0
        assert f"{tenant.org}: waiting until " in first.stdout
        assert operator.stored(tenant)["client_secrets"][1:] == list(tenant.client_secrets)
        second = await operator.rotate(tenant.org, "--quiet-for", "0s")
        assert (second.code, operator.known_secrets(tenant)) == (0, 1)
        assert f"{tenant.org}: rotated" in second.stdout

    async def test_all_are_rotated_once_though_the_run_is_killed(self, operator: Operator) -> None:
        """After a run that was killed, the next one finishes what was begun and leaves alone what was done."""
        tenants = [operator.managed() for _ in range(24)]
        words = ("secret", "rotate", "--all", "--now", "--console-url", operator.fleet.sandbox.base_url)
        await asyncio.sleep(1.1)  # the option below counts whole seconds
        began = time.time()
        async with running_cli(*words, env=operator.env) as run:
            await until(lambda: self._rotated(operator, tenants) >= 6, 60)
            run.send(signal.SIGKILL)
            await run.ended()
        assert all(operator.known_secrets(tenant) <= 2 for tenant in tenants)
        done = {
            tenant.org: operator.stored(tenant)["client_secrets"]
            for tenant in tenants
            if operator.known_secrets(tenant) == 1
            and operator.stored(tenant)["client_secrets"] != [*tenant.client_secrets]
        }
        assert 0 < len(done) < len(tenants)
        age = f"{int(time.time() - began) + 1}s"
        finished = await operator.run(*words, "--older-than", age, "--json")
        results = {each["org"]: each["status"] for each in json.loads(finished.stdout)["results"]}
        for tenant in tenants:
            [secret] = operator.stored(tenant)["client_secrets"]
            assert operator.known_secrets(tenant) == 1
            assert secret not in tenant.client_secrets, (tenant.org, results[tenant.org])
            assert done.get(tenant.org, [secret]) == [secret]

    async def test_by_hand(self, operator: Operator, tmp_path: Path) -> None:
        """Without the API's scopes, a secret from the console is given by file or standard input."""
        old, new = new_secret(), new_secret()
        tenant = operator.fleet.tenant(client_secrets=(old,), known_secrets=(old, new))
        refused = await operator.rotate(tenant.org)
        assert refused.code == 1
        assert "--new-secret-file" in refused.stderr
        (tmp_path / "new").write_text(f"{new}\n")
        written = await operator.rotate(tenant.org, "--new-secret-file", str(tmp_path / "new"))
        assert (written.code, operator.stored(tenant)["client_secrets"]) == (0, [new, old])
        done = await operator.rotate(tenant.org, "--finish")
        assert (done.code, operator.stored(tenant)["client_secrets"]) == (0, [new])
        shows_no_secret(written, old, new)

    async def test_bad_options_are_named(self, operator: Operator) -> None:
        """A bad option is one sentence and exit status 2."""
        for words, sentence in (
            ((), "Give either ORG, --app NAME or --all."),
            (("--all", "--quiet-for", "soon"), "--quiet-for must be a number and a unit"),
            (("A" * 24 + "@AdobeOrg", "--console-org", "x"), "--console-org and --console-credential must be"),
        ):
            finished = await operator.rotate(*words)
            assert (finished.code, sentence in finished.stderr) == (2, True), finished

    def _rotated(self, operator: Operator, tenants: list[Tenant]) -> int:
        return sum(operator.stored(each)["client_secrets"] != list(each.client_secrets) for each in tenants)


class TestMigrate:
    """``org migrate``."""

    async def test_there_and_back_under_load_without_a_failure(self, operator: Operator, tmp_path: Path) -> None:
        """A JWT credential becomes OAuth Server-to-Server and comes back, and every answer is 200."""
        tenant = operator.fleet.tenant(kind="jwt")
        new = Tenant(operator.fleet.sandbox.base_url, org=tenant.org)
        new_client = {**new.client(), "technical_account_id": tenant.document()["technical_account_id"]}
        operator.fleet.sandbox.put_client(new_client)
        document = {**new.document(), "technical_account_id": tenant.document()["technical_account_id"]}
        file = tmp_path / "new.json"
        file.write_text(json.dumps(document))

        async def ask(number: int) -> Reply:
            replica = operator.fleet.replicas[number % 3]
            if number % 25 == 0:
                await replica.purge(tenant.org)
            return await replica.token(tenant.org)

        async with traffic(ask, RATE) as seen:
            there = await operator.run("org", "migrate", tenant.org, "--to", str(file), "--json")
            between = operator.stored(tenant)["kind"]
            back = await operator.run("org", "migrate", tenant.org, "--back")
            await asyncio.sleep(0.5)
        assert seen.failures() == []
        assert (there.code, between) == (0, "oauth_server_to_server"), there
        [result] = json.loads(there.stdout)["results"]
        assert (result["status"], result["before"], result["after"]) == ("migrated", "jwt", "oauth_server_to_server")
        assert {each["what"] for each in result["differences"]} >= {"client_id", "scope"}
        assert not any(each["is_loss"] for each in result["differences"])
        assert (back.code, operator.stored(tenant)) == (0, tenant.document()), back
        shows_no_secret(there, *tenant.client_secrets, *new.client_secrets)

    async def test_a_token_that_lacks_something_is_not_taken(self, operator: Operator, tmp_path: Path) -> None:
        """A new credential with fewer scopes, or of another technical account, is refused unless it is accepted."""
        tenant = operator.fleet.tenant()
        fewer = {**tenant.document(), "scopes": ["openid"]}
        file = tmp_path / "fewer.json"
        file.write_text(json.dumps(fewer))
        refused = await operator.run("org", "migrate", tenant.org, "--to", str(file))
        assert refused.code == 1
        assert "callers may miss this" in refused.stderr
        assert operator.stored(tenant) == tenant.document()
        taken = await operator.run("org", "migrate", tenant.org, "--to", str(file), "--accept-loss")
        assert (taken.code, operator.stored(tenant)) == (0, fewer)

    async def test_a_migration_is_rehearsed_at_a_sandbox(self, operator: Operator, tmp_path: Path) -> None:
        """Adobe's file is sent to the host of `--ims-base-url`; the changed fields are shown; a bad file is named."""
        tenant = operator.fleet.tenant(kind="jwt")
        new = Tenant(operator.fleet.sandbox.base_url, org=tenant.org)
        operator.fleet.register(new)
        (tmp_path / "new.json").write_text(json.dumps(without(new.document(), "ims_base_url")))
        words = ("org", "migrate", tenant.org, "--to", str(tmp_path / "new.json"), "--dry-run")
        shown = await operator.run(*words, "--ims-base-url", operator.fleet.sandbox.base_url)
        assert (shown.code, "document: kind: jwt -> oauth_server_to_server" in shown.stdout) == (0, True), shown
        shows_no_secret(shown, *tenant.client_secrets, *new.client_secrets)
        elsewhere = await operator.run(*words, "--ims-base-url", "https://elsewhere.example")
        said = "The file cannot be used with the IMS host https://elsewhere.example, which is not on the allow-list"
        assert (elsewhere.code, said in elsewhere.stderr) == (1, True), elsewhere

    async def test_a_dry_run_writes_nothing(self, operator: Operator, tmp_path: Path) -> None:
        """`--dry-run` mints both tokens, shows the differences, and writes nothing, not even what it would keep."""
        tenant = operator.fleet.tenant(kind="jwt")
        new = Tenant(operator.fleet.sandbox.base_url, org=tenant.org)
        operator.fleet.register(new)
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "one.json").write_text(json.dumps(new.document()))
        finished = await operator.run("org", "migrate", "--all", "--to", str(tmp_path / "new"), "--dry-run")
        assert finished.code == 0
        assert f"{tenant.org}: compared (jwt to oauth_server_to_server)" in finished.stdout
        assert operator.stored(tenant) == tenant.document()
        again = await operator.run("org", "migrate", tenant.org, "--back")
        assert "There is no document from before a migration" in again.stderr


class TestCheckAndList:
    """``org check`` and ``org list``."""

    async def test_a_good_credential_with_an_api_call(self, operator: Operator) -> None:
        """A real exchange with each secret and one call of an API are reported; the status is 0."""
        tenant = operator.fleet.tenant(kind="jwt")
        url = f"{operator.fleet.sandbox.base_url}/imp/campaigns"
        finished = await operator.run("org", "check", tenant.org, "--probe", url, "--json")
        answer = json.loads(finished.stdout)
        [found] = answer["credentials"]
        assert (finished.code, answer["ok"], found["ok"], found["kind"]) == (0, True, True, "jwt"), finished
        assert found["probe"] == {"status": 200, "code": None, "cause": None, "remedy": None}
        assert found["exchanges"] == [{"secret": 1, "lifetime": 86399, "code": None, "detail": None}]
        assert set(found) == {
            *("org", "credential", "ok", "kind", "generation", "ims_base_url", "code", "detail"),
            *("certificate_expires_at", "exchanges", "probe"),
        }
        shows_no_secret(finished, *tenant.client_secrets)

    async def test_an_org_without_a_credential_says_how_to_add_one(self, operator: Operator) -> None:
        """An org for which nothing is stored gets the command that stores it, as text and as JSON."""
        org = "0" * 24 + "@AdobeOrg"
        said = "Add one with: ims-token-broker org import FILE"
        printed = await operator.run("org", "check", org)
        [found] = json.loads((await operator.run("org", "check", org, "--json")).stdout)["credentials"]
        assert (printed.code, said in printed.stdout, found["detail"].endswith(said)) == (1, True, True), printed
        rotated = await operator.run("cert", "rotate", org)
        assert (rotated.code, said in rotated.stderr) == (1, True), rotated

    async def test_one_of_two_secrets_that_is_refused_is_named(self, operator: Operator) -> None:
        """The broker gets along with one of two secrets, but the check says which one is refused and what to do."""
        good, bad = new_secret(), new_secret()
        tenant = operator.fleet.tenant(client_secrets=(good, bad), known_secrets=(good,))
        finished = await operator.run("org", "check", tenant.org)
        assert finished.code == 1
        assert f"{tenant.org}: FAILED" in finished.stdout
        assert "exchange with secret 1 of 2: a token of 24.0 h" in finished.stdout
        assert "exchange with secret 2 of 2: IMS refused this credential: invalid_client" in finished.stdout

    async def test_a_certificate_that_adobe_does_not_have_is_named(self, operator: Operator) -> None:
        """A key that no certificate at Adobe belongs to gets the remedy that helps."""
        tenant = operator.fleet.tenant(kind="jwt")
        operator.fleet.sandbox.put_client({**tenant.client(), "certificates": []})
        finished = await operator.run("org", "check", tenant.org)
        assert finished.code == 1
        assert "certificate" in finished.stdout

    async def test_a_refusal_of_the_gateway_is_explained(self, operator: Operator) -> None:
        """Adobe's error code becomes a cause and a remedy."""
        tenant = operator.fleet.tenant()
        url = f"{operator.fleet.sandbox.base_url}/nothing"
        finished = await operator.run("org", "check", tenant.org, "--probe", url)
        assert finished.code == 1
        assert "API: 404: nothing is there. Check the path of the URL." in finished.stdout

    async def test_a_token_is_sent_to_adobe_alone(self, operator: Operator) -> None:
        """A URL of someone else is refused before anything is asked."""
        finished = await operator.run("org", "check", "A" * 24 + "@AdobeOrg", "--probe", "https://example.com/")
        assert (finished.code, "--probe must be a URL of Adobe" in finished.stderr) == (2, True)

    async def test_the_list_names_what_is_defective(self, operator: Operator) -> None:
        """All credentials are listed without an exchange, and a defective document says which field is wrong."""
        good, bad = operator.fleet.tenant(kind="jwt"), operator.fleet.tenant()
        operator.fleet.vault.put(bad.org, "default", {**bad.document(), "kind": "unknown"})
        finished = await operator.run("org", "list", "--json")
        listed = {each["org"]: each for each in json.loads(finished.stdout)["credentials"]}
        assert finished.code == 0
        assert (listed[good.org]["kind"], listed[good.org]["code"]) == ("jwt", None)
        assert listed[bad.org]["code"] == "credential_misconfigured"
        assert "kind" in listed[bad.org]["detail"]
        table = await operator.run("org", "list")
        assert good.org in table.stdout
        assert operator.fleet.exchanges(good) == []
        assert "\x1b" not in table.stdout


class TestStatus:
    """``status``."""

    async def test_it_shows_what_the_broker_knows(self, operator: Operator, tmp_path: Path) -> None:
        """Kind, generation, life and last error of the caller's credentials, as a table, as JSON and as a page."""
        good, bad = operator.fleet.tenant(kind="jwt"), operator.fleet.tenant(known_secrets=(new_secret(),))
        replica = operator.fleet.replicas[0]
        await replica.token(good.org)
        await replica.token(bad.org)
        env = {"ITB_URL": replica.url, "ITB_API_KEY": replica.key}
        finished = await run_cli("status", "--json", env=env)
        found = {each["org"]: each for each in json.loads(finished.stdout)["credentials"]}
        assert (finished.code, found[good.org]["kind"], found[good.org]["token_state"]) == (0, "jwt", "fresh")
        assert found[good.org]["remaining"] > 86000
        assert found[bad.org]["last_error"] == "credential_rejected"
        table = await run_cli("status", env=env)
        [line] = [line for line in table.stdout.splitlines() if good.org in line]
        assert "#########" in line
        assert "\x1b" not in table.stdout
        page = await run_cli("status", "--html", str(tmp_path / "page.html"), env=env)
        assert (page.code, good.org in (tmp_path / "page.html").read_text()) == (0, True)
        shows_no_secret(table, replica.key, *good.client_secrets)

    async def test_a_caller_without_the_right_is_refused(self, operator: Operator) -> None:
        """The broker's refusal is one sentence, and the exit status is 1."""
        env = {"ITB_URL": operator.fleet.replicas[0].url, "ITB_API_KEY": "itb_unknown"}
        finished = await run_cli("status", env=env)
        assert (finished.code, finished.stdout) == (1, "")
        assert "401 unauthenticated" in finished.stderr
