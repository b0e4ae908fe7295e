"""The recipes of ``examples/`` against a running broker and an API that checks tokens as Adobe's gateway does."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
import yaml

from tests.support.fleet import Fleet
from tests.support.http_stand_in import ReceivedRequest, ScriptedReply, stand_in
from tests.support.processes import environment
from tests.support.repository import ROOT
from tests.support.tenants import Tenant
from tests.support.tools import skip_or_fail

pytestmark = pytest.mark.timeout(300)  # the first test of a language also compiles

EXAMPLES = ROOT / "examples"
DRIVERS = ROOT / "tests" / "clients" / "recipes"


def _program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        skip_or_fail(f"{name} is missing; install {package} to run the recipe's test")
    return found


def _run(command: list[str], folder: Path, **settings: str) -> None:
    done = subprocess.run(
        command, cwd=folder, env={**environment(folder), **settings}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def go_recipe(folder: Path) -> list[str]:
    """The Go recipe, built."""
    (folder / "adobe").mkdir()
    shutil.copy(EXAMPLES / "go" / "transport.go", folder / "adobe")
    shutil.copy(DRIVERS / "main.go", folder)
    (folder / "go.mod").write_text("module recipe\n\ngo 1.22\n")
    _run([_program("go", "Go"), "build", "-o", "recipe", "."], folder, GOTOOLCHAIN="local", GOFLAGS="-mod=mod")
    return [str(folder / "recipe")]


def node_recipe(folder: Path) -> list[str]:
    """The Node.js recipe."""
    shutil.copy(EXAMPLES / "node" / "adobe-fetch.mjs", folder)
    shutil.copy(DRIVERS / "main.mjs", folder)
    return [_program("node", "Node.js"), str(folder / "main.mjs")]


def java_recipe(folder: Path) -> list[str]:
    """The Java recipe, compiled."""
    sources = [str(EXAMPLES / "java" / "AdobeHttpClient.java"), str(DRIVERS / "Main.java")]
    _run([_program("javac", "a JDK"), "--release", "17", "-Xlint:all", "-Werror", "-d", ".", *sources], folder)
    return [_program("java", "a JDK"), "-cp", str(folder), "Main"]


RECIPES = {"go": go_recipe, "node": node_recipe, "java": java_recipe}


@pytest.fixture(scope="module", params=RECIPES)
def recipe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command of each recipe's program in turn."""
    build: Callable[[Path], list[str]] = RECIPES[request.param]
    return build(tmp_path_factory.mktemp(f"{request.param}-recipe"))


class Application:
    """A running program that uses a recipe."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def call(self) -> str:
        """Let it call the API once; what it prints."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        async with asyncio.timeout(60):
            return (await self._process.stdout.readline()).decode().strip()


@contextlib.asynccontextmanager
async def running(recipe: list[str], fleet: Fleet, tenant: Tenant, folder: Path) -> AsyncIterator[Application]:
    """The program, as a caller of the first replica."""
    key_file = folder / "key"
    key_file.write_text(f"{fleet.key}\n")
    api = f"{fleet.sandbox.base_url}/imp/campaigns"
    process = await asyncio.create_subprocess_exec(
        *recipe, fleet.replicas[0].url, tenant.org, str(key_file), api,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=environment(folder),
    )  # fmt: skip
    try:
        yield Application(process)
    finally:
        process.kill()
        await process.wait()


async def test_a_revoked_token_is_replaced_without_a_failed_call(
    recipe: list[str], fleet: Fleet, tmp_path: Path
) -> None:
    """The application sees 200 before and after its token is revoked at Adobe, and the broker exchanges once more."""
    tenant = fleet.tenant()
    async with running(recipe, fleet, tenant, tmp_path) as application:
        assert await application.call() == "200"
        token = (await fleet.replicas[0].token(tenant.org)).json["access_token"]
        digest = hashlib.sha256(token.encode()).hexdigest()
        fleet.sandbox.order("POST", "/sandbox/tokens/revoke", {"token_sha256": digest})
        assert await application.call() == "200"
        assert await application.call() == "200"
    assert len(fleet.exchanges(tenant)) == 2


async def test_a_token_is_used_to_its_end_and_asked_for_once(recipe: list[str], fleet: Fleet, tmp_path: Path) -> None:
    """Several calls need one token, and another refusal of the API than 401013 is not reported."""
    tenant = fleet.tenant()
    async with running(recipe, fleet, tenant, tmp_path) as application:
        assert [await application.call() for _ in range(3)] == ["200"] * 3
        fleet.sandbox.fault("status", status=403, path="/imp", count=1)
        assert await application.call() == "403"
        assert await application.call() == "200"
    assert len(fleet.exchanges(tenant)) == 1


async def test_a_refusal_of_the_broker_names_the_request(recipe: list[str], fleet: Fleet, tmp_path: Path) -> None:
    """What the broker refuses is an error with its status and request id, so that the log line can be found."""
    tenant = Tenant(fleet.sandbox.base_url)
    async with running(recipe, fleet, tenant, tmp_path) as application:
        said = await application.call()
    assert "the broker answered 404" in said
    assert "(request " in said


def _shell(fleet: Fleet, org: str, api: str, folder: Path) -> subprocess.CompletedProcess[str]:
    key_file = folder / "key"
    key_file.write_text(f"{fleet.key}\n")
    settings = {"ITB_URL": fleet.replicas[0].url, "ORG": org, "KEY_FILE": str(key_file)}
    return _run_in_shell(["sh", str(EXAMPLES / "shell" / "call-adobe.sh"), api], settings, folder)


def test_the_shell_recipe_calls_an_api(fleet: Fleet, tmp_path: Path) -> None:
    """The script prints the API's answer, and its exit status is that of curl if the broker refuses."""
    tenant = fleet.tenant()
    done = _shell(fleet, tenant.org, f"{fleet.sandbox.base_url}/imp/campaigns", tmp_path)
    assert (done.returncode, '"status":"ok"' in done.stdout) == (0, True), done
    refused = _shell(fleet, Tenant("").org, f"{fleet.sandbox.base_url}/imp/campaigns", tmp_path)
    assert refused.returncode != 0
    assert fleet.key not in done.stdout + done.stderr + refused.stdout + refused.stderr


def test_the_cron_job_recipe_runs_the_script(fleet: Fleet, tmp_path: Path) -> None:
    """Its command and its variables, with the addresses of this test, call the API; the manifest holds no secret."""
    text = (EXAMPLES / "kubernetes" / "cronjob.yaml").read_text()
    pod = yaml.safe_load(text)["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    (tmp_path / "key").write_text(fleet.key)
    here = {"ITB_URL": fleet.replicas[0].url, "ORG": fleet.tenant().org, "KEY_FILE": str(tmp_path / "key")}
    api = f"{fleet.sandbox.base_url}/imp/campaigns"
    places = {"/scripts/call-adobe.sh": str(EXAMPLES / "shell" / "call-adobe.sh"), container["command"][-1]: api}
    done = _run_in_shell(
        [places.get(word, word) for word in container["command"]],
        {variable["name"]: here[variable["name"]] for variable in container["env"]},
        tmp_path,
    )
    assert (done.returncode, '"status":"ok"' in done.stdout) == (0, True), done
    assert "itb_" not in text


def test_the_workflow_recipe_calls_an_api(fleet: Fleet, tmp_path: Path) -> None:
    """Its steps, run in order as a runner would, get a token from the issuer and call the API; it holds no secret."""
    _program("jq", "jq")
    text = (EXAMPLES / "github" / "call-adobe.yaml").read_text()
    [job] = yaml.safe_load(text)["jobs"].values()
    issued: list[str] = []

    def issue(request: ReceivedRequest) -> ScriptedReply:
        issued.append(request.path)
        return ScriptedReply(200, {"value": fleet.key})

    with stand_in(issue) as github:
        settings = {
            "ITB_URL": fleet.replicas[0].url,
            "ORG": fleet.tenant().org,
            "KEY_FILE": job["env"]["KEY_FILE"].replace("${{ runner.temp }}", str(tmp_path)),
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "for-the-issuer",
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{github.url}/token?job=1",
        }
        assert set(job["env"]) <= set(settings)
        api = f"{fleet.sandbox.base_url}/imp"
        scripts = [
            step["run"].replace("https://platform.adobe.io/journey", api) for step in job["steps"] if "run" in step
        ]
        done = [_run_in_shell(["bash", "-e", "-c", script], settings, ROOT) for script in scripts]
    assert [each.returncode for each in done] == [0, 0], done
    assert '"status":"ok"' in done[-1].stdout
    assert issued == ["/token?job=1&audience=ims-token-broker"]
    assert "itb_" not in text


def _run_in_shell(command: list[str], settings: Mapping[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env={**environment(folder), "PATH": os.environ["PATH"], **settings},  # curl and jq are on the path
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
