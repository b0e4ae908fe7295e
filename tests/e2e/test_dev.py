"""``dev`` as a real process; the curl lines that it prints run in a real shell, unchanged."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.cli.demo_caller import demo_api_key
from app.cli.demo_tenants import DEMO_ORGS, JWT_ORG, OAUTH_ORG, demo_tenants
from tests.support.processes import Finished, RunningCli, run_cli, run_shell, running_cli
from tests.support.tools import skip_or_fail

STOP_SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@dataclass(frozen=True)
class Dev:
    """A running ``dev``."""

    cli: RunningCli
    said: dict[str, Any]


@asynccontextmanager
async def _dev(*arguments: str, env: dict[str, str] | None = None) -> AsyncIterator[Dev]:
    async with running_cli("dev", "--json", *arguments, env=env) as cli:
        line = await cli.said(r"^{.*}$")
        yield Dev(cli, json.loads(line[0]))


def _need_curl() -> None:
    if shutil.which("curl") is None:
        skip_or_fail("curl is missing; install it (Debian: apt-get install curl)")


def _answer(finished: Finished) -> dict[str, Any]:
    assert (finished.code, finished.stderr) == (0, "")
    document: dict[str, Any] = json.loads(finished.stdout)
    return document


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def _is_open(url: str) -> bool:
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.socket() as sock:
        return sock.connect_ex((host, int(port))) == 0


async def test_the_printed_curl_lines_work_unchanged(tmp_path: Path) -> None:
    """Each printed curl line returns a token or a 200 of Adobe's API, and Ctrl-C removes all files."""
    _need_curl()
    async with running_cli("dev", env={"TMPDIR": str(tmp_path)}) as cli:
        await cli.said("^Ctrl-C ends everything")
        lines = [line for line in cli.stdout.lines if line.startswith("curl ")]
        jwt, oauth, journey, oauth2 = [_answer(await run_shell(line)) for line in lines]
        finished = await cli.stop(signal.SIGINT)
    assert (jwt["org_id"], jwt["token_type"]) == (JWT_ORG, "Bearer")
    assert oauth["org_id"] == OAUTH_ORG
    assert (journey["status"], journey["client_id"], journey["org_id"]) == ("ok", oauth["client_id"], OAUTH_ORG)
    assert (oauth2["access_token"], oauth2["token_type"]) == (jwt["access_token"], "Bearer")
    assert (finished.code, finished.stderr) == (0, "")
    assert _names(tmp_path) == []


async def test_the_printed_orders_show_an_error_and_its_end(tmp_path: Path) -> None:
    """After the printed fault and purge a curl line returns a 503; without the faults it returns a token again."""
    _need_curl()
    bin_first = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    async def printed(line: str) -> Finished:
        return await run_cli(line, program=("sh", "-c"), env=bin_first)

    async with running_cli("dev", env={"TMPDIR": str(tmp_path), **bin_first}) as cli:
        await cli.said("^Ctrl-C ends everything")
        lines = cli.stdout.lines
        token = [line for line in lines if line.startswith("curl ")][1]
        fault, purge, clear = (
            next(line for line in lines if order in line) for order in (" fault status ", " purge ", " fault --clear ")
        )
        assert "access_token" in _answer(await run_shell(token))
        for line in (fault, purge):
            assert (await printed(line)).code == 0
        error = _answer(await run_shell(token))
        assert (error["status"], error["code"]) == (503, "ims_unavailable")
        assert (await printed(clear)).code == 0
        # The failure is remembered for a moment.
        async with asyncio.timeout(20):
            while "access_token" not in _answer(await run_shell(token)):  # noqa: ASYNC110  # a retry is a new request
                await asyncio.sleep(0.2)


async def test_json_is_one_line_with_working_curl_lines(tmp_path: Path) -> None:
    """--json prints one line whose curl lines work, and a second `dev` in the same folder is refused."""
    _need_curl()
    async with _dev("--dir", str(tmp_path)) as dev:
        assert set(dev.said) == {"broker", "sandbox", "api_key", "orgs", "curl", "sandbox_commands", "purge_command"}
        assert dev.said["orgs"] == [JWT_ORG, OAUTH_ORG]
        refused = await run_cli("dev", "--dir", str(tmp_path))
        assert (refused.code, "another dev already runs" in refused.stderr) == (2, True)
        assert set(dev.said["curl"]) == {"token_jwt", "token_oauth", "journey_optimizer", "oauth2_token"}
        for line in dev.said["curl"].values():
            assert "error" not in _answer(await run_shell(line))
        # With a wrong key the pipe passes no headers on: Adobe's API must refuse the request.
        wrong = dev.said["curl"]["journey_optimizer"].replace(dev.said["api_key"], "itb_dev_" + "x" * 43)
        assert _answer(await run_shell(wrong))["error_code"] == "403000"
        finished = await dev.cli.stop()
        assert len(finished.stdout.splitlines()) == 1


@pytest.mark.parametrize("number", STOP_SIGNALS)
async def test_each_stop_signal_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    """SIGINT, SIGTERM and SIGHUP stop both servers with exit code 0 and remove the folder."""
    async with _dev(env={"TMPDIR": str(tmp_path)}) as dev:
        assert len(_names(tmp_path)) == 1
        assert _is_open(dev.said["broker"])
        assert _is_open(dev.said["sandbox"])
        finished = await dev.cli.stop(number)
        assert (finished.code, finished.stderr) == (0, "")
        assert not _is_open(dev.said["broker"])
        assert not _is_open(dev.said["sandbox"])
        assert _names(tmp_path) == []


async def test_repeated_signals_do_not_prevent_the_cleanup(tmp_path: Path) -> None:
    """Signals that arrive until the process has ended do not prevent the removal of the folder."""
    async with _dev(env={"TMPDIR": str(tmp_path)}) as dev:
        end = asyncio.create_task(dev.cli.ended())
        while not end.done():  # a signal at every moment of the shutdown
            with contextlib.suppress(ProcessLookupError):
                dev.cli.send(random.choice(STOP_SIGNALS))
            await asyncio.sleep(0.002)
        assert ((await end).code, (await end).stderr) == (0, "")
        assert _names(tmp_path) == []


async def test_a_signal_during_startup_leaves_nothing_behind(tmp_path: Path) -> None:
    """A signal that arrives while keys are generated removes the folder, too."""
    async with running_cli("dev", env={"TMPDIR": str(tmp_path)}) as cli:
        async with asyncio.timeout(60):
            while not _names(tmp_path):  # noqa: ASYNC110  # a folder has no event to wait for
                await asyncio.sleep(0.002)
        finished = await cli.stop()
        assert finished.code == 0
        assert "Traceback" not in finished.stderr
        assert _names(tmp_path) == []


async def test_a_hanging_exchange_does_not_delay_the_shutdown(tmp_path: Path) -> None:
    """Ctrl-C stops `dev` while an exchange hangs in the sandbox."""
    _need_curl()
    async with _dev("--dir", str(tmp_path)) as dev:
        fault = f'curl -sS -d \'{{"kind": "hang"}}\' {dev.said["sandbox"]}/sandbox/faults'
        accepted = await run_shell(fault)
        assert accepted.code == 0
        async with running_cli(dev.said["curl"]["token_jwt"], program=("sh", "-c")):
            finished = await dev.cli.stop(signal.SIGINT)
        assert finished.code == 0


async def test_a_second_run_reuses_the_folder(tmp_path: Path) -> None:
    """A second run in the same folder has the same orgs, API key, private key and client secrets, and works."""
    _need_curl()
    folder = tmp_path / "new" / "demo"
    documents = {org: folder / "credentials" / org / "default.json" for org in (JWT_ORG, OAUTH_ORG)}
    said, stored = [], []
    for _ in range(2):
        async with _dev("--dir", str(folder)) as dev:
            said.append(dev.said)
            for line in dev.said["curl"].values():
                assert "error" not in _answer(await run_shell(line))
            assert (await dev.cli.stop()).code == 0
        stored.append({org: json.loads(file.read_text()) for org, file in documents.items()})
    assert said[0]["api_key"] == said[1]["api_key"]
    assert [document.pop("ims_base_url") for document in stored[1].values()] == [said[1]["sandbox"]] * 2
    for document in stored[0].values():
        document.pop("ims_base_url")
    assert stored[0] == stored[1]
    assert (folder / "audit.log").read_text().count('"outcome":"vended"') >= 8


async def test_files_with_secrets_are_private(tmp_path: Path) -> None:
    """Files that hold a secret are readable only by their owner."""
    async with _dev("--dir", str(tmp_path / "demo")) as dev:
        assert (await dev.cli.stop()).code == 0
    for path in (tmp_path / "demo").rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        if path.name in {"api-key", "default.json", "policy.yaml", "credentials"}:
            assert mode & 0o077 == 0, path
    assert stat.S_IMODE((tmp_path / "demo").stat().st_mode) == 0o700


async def test_nothing_is_written_outside_the_folder(tmp_path: Path) -> None:
    """Nothing is written to the home, working or temporary folder."""
    for name in ("home", "tmp", "cwd", "demo"):
        (tmp_path / name).mkdir()
    env = {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp")}
    async with running_cli("dev", "--dir", str(tmp_path / "demo"), env=env, cwd=tmp_path / "cwd") as cli:
        await cli.said("^Ctrl-C ends everything")
        for name in ("home", "tmp", "cwd"):
            assert _names(tmp_path / name) == []


async def test_broker_variables_and_proxies_are_ignored(tmp_path: Path) -> None:
    """BROKER_ variables, valid or not, and proxy variables have no effect."""
    env = {
        "BROKER_PORT": "1",
        "BROKER_HOST": "203.0.113.1",
        "BROKER_UNKNOWN": "x",
        "BROKER_REDIS_URL": "redis://127.0.0.1:1",
        "BROKER_CREDENTIAL_STORE": "vault",
        "http_proxy": "http://127.0.0.1:1",
    }
    async with _dev("--dir", str(tmp_path), env=env) as dev:
        key_file = str(tmp_path / "api-key")
        got = await run_cli("token", "get", JWT_ORG, "--url", dev.said["broker"], "--api-key-file", key_file, env=env)
        assert (got.code, got.stderr) == (0, "")
        assert got.stdout.startswith("eyJ")


async def test_the_ports_can_be_chosen(tmp_path: Path) -> None:
    """--port and --sandbox-port choose the ports; a port in use is one sentence and exit code 2."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = [str(sock.getsockname()[1]) for sock in (one, two)]
        for option, port in zip(("--port", "--sandbox-port"), ports, strict=True):
            refused = await run_cli("dev", option, port, env={"TMPDIR": str(tmp_path)})
            assert (refused.code, refused.stdout) == (2, "")
            assert refused.stderr == f"Error: Cannot listen on 127.0.0.1 port {port}: address already in use.\n"
            assert _names(tmp_path) == []
    async with _dev("--port", ports[0], "--sandbox-port", ports[1]) as dev:
        assert dev.said["broker"] == f"http://127.0.0.1:{ports[0]}"
        assert dev.said["sandbox"] == f"http://127.0.0.1:{ports[1]}"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("policy.yaml", "version: 1\ncallers: []\n"),
        ("policy.yaml", None),
        ("api-key", "itb_dev_" + "y" * 43),
        ("api-key", "invalid"),
        ("api-key", ""),
        (f"credentials/{JWT_ORG}/default.json", "{"),
        (f"credentials/{JWT_ORG}/default.json", "{}"),
    ],
)
async def test_invalid_files_in_the_folder_are_refused(tmp_path: Path, name: str, content: str | None) -> None:
    """A folder with an invalid file is refused with one sentence that names the file, which is not changed."""
    demo_api_key(tmp_path / "api-key", tmp_path / "policy.yaml", DEMO_ORGS)
    demo_tenants(tmp_path / "credentials", "http://127.0.0.1:1")
    file = tmp_path / name
    if content is None:
        content = file.read_text().replace("- name: demo", "- name: other")
    file.write_text(content)
    refused = await run_cli("dev", "--dir", str(tmp_path))
    assert (refused.code, refused.stdout) == (2, "")
    assert str(file) in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert file.read_text() == content
