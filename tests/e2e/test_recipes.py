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
    settings: Mapping[str, str] = {"ITB_URL": fleet.replicas[0].url, "ORG": org, "KEY_FILE": str(key_file)}
    return subprocess.run(
        ["sh", str(EXAMPLES / "shell" / "call-adobe.sh"), api],
        env={**environment(folder), "PATH": os.environ["PATH"], **settings},  # curl is on the path
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_shell_recipe_calls_an_api(fleet: Fleet, tmp_path: Path) -> None:
    """The script prints the API's answer, and its exit status is that of curl if the broker refuses."""
    tenant = fleet.tenant()
    done = _shell(fleet, tenant.org, f"{fleet.sandbox.base_url}/imp/campaigns", tmp_path)
    assert (done.returncode, '"status":"ok"' in done.stdout) == (0, True), done
    refused = _shell(fleet, Tenant("").org, f"{fleet.sandbox.base_url}/imp/campaigns", tmp_path)
    assert refused.returncode != 0
    assert fleet.key not in done.stdout + done.stderr + refused.stdout + refused.stderr


@pytest.mark.parametrize("path", ["kubernetes/cronjob.yaml", "github/call-adobe.yaml"])
def test_the_other_recipes_use_the_script(path: str) -> None:
    """The CronJob and the workflow are valid YAML, run the script that is tested here, and hold no secret."""
    text = (EXAMPLES / path).read_text()
    assert isinstance(yaml.safe_load(text), dict)
    assert "call-adobe.sh" in text
    assert "itb_" not in text
