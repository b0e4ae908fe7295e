"""The commands as real processes: how they start, end and fail."""

from __future__ import annotations

import json
import shlex
import signal
import socket
from pathlib import Path

import pytest

from app.cli.caller import policy_lines
from app.domain.api_key import api_key_sha256
from tests.support.processes import CLI, Finished, run_cli, run_shell, running_cli
from tests.support.tls import server_certificate

API_KEY = "itb_canary_" + "k" * 43
CANARY = "hunter2canary"
LISTENING = r"^listening on (http://127\.0\.0\.1:\d+)$"


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    """Settings of a broker that starts."""
    (tmp_path / "credentials").mkdir()
    policy = tmp_path / "policy.yaml"
    policy.write_text(f"version: 1\ncallers:\n{policy_lines('canary', api_key_sha256(API_KEY), None)}")
    return {
        "BROKER_PORT": "0",
        "BROKER_POLICY_FILE": str(policy),
        "BROKER_CREDENTIAL_STORE": "directory",
        "BROKER_CREDENTIAL_DIR": str(tmp_path / "credentials"),
    }


def _is_refused(finished: Finished, *words: str) -> None:
    assert finished.code == 2, finished
    assert len(finished.stderr.splitlines()) == 1, finished.stderr
    assert finished.stderr.startswith("Error: ")
    for word in words:
        assert word in finished.stderr
    for secret in (CANARY, API_KEY, "Traceback"):
        assert secret not in finished.stdout + finished.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_serve_ends_cleanly(settings: dict[str, str], number: signal.Signals) -> None:
    """The broker says where it listens, answers there, and ends with exit code 0 at SIGTERM and Ctrl-C."""
    async with running_cli("serve", env=settings) as cli:
        url = (await cli.said(LISTENING, stream="stderr"))[1]
        live = await run_shell(f"curl -sS -o /dev/null -w '%{{http_code}}' {url}/livez")
        finished = await cli.stop(number)
    assert live.stdout.strip() == "200"
    assert finished.code == 0
    assert "Traceback" not in finished.stderr


async def test_standard_output_is_the_audit_log(settings: dict[str, str]) -> None:
    """Standard output holds JSON lines of the audit log and nothing else; no line of either stream holds the key."""
    async with running_cli("serve", env=settings) as cli:
        url = (await cli.said(LISTENING, stream="stderr"))[1]
        org = "0123456789ABCDEF01234567@AdobeOrg"
        refused = await run_cli("token", "get", org, env={"ITB_URL": url, "ITB_API_KEY": API_KEY})
        finished = await cli.stop()
    assert refused.code == 1
    lines = [json.loads(line) for line in finished.stdout.splitlines()]
    assert lines
    assert all(line["audit"] for line in lines)
    assert any(line.get("caller") == "canary" for line in lines)
    assert API_KEY not in finished.stdout + finished.stderr + refused.stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("BROKER_PORT", CANARY),
        ("BROKER_HOST", f"{CANARY}.invalid"),
        ("BROKER_HOST", "203.0.113.1"),
        ("BROKER_LOG_LEVEL", CANARY),
        (f"BROKER_{CANARY[:3].upper()}", CANARY),
        ("BROKER_IMS_BASE_URLS", f"http://{CANARY}.example"),
        ("BROKER_REDIS_URL", f"redis://u:{CANARY}@127.0.0.1:x/"),
        ("BROKER_REDIS_URL", f"redis+sentinel://:{CANARY}@127.0.0.1/"),
        ("BROKER_VAULT_ADDR", f"https://u:{CANARY}@vault.example"),
        ("BROKER_IMS_CACERT", "/dev/null"),
        ("BROKER_CREDENTIAL_STORE", "vault"),
        ("BROKER_CREDENTIAL_DIR", ""),
        ("BROKER_CREDENTIAL_DIR", "/nope"),
        ("BROKER_POLICY_FILE", ""),
    ],
)
async def test_bad_setting(settings: dict[str, str], variable: str, value: str) -> None:
    """A wrong, unknown or missing setting is exit code 2 and one sentence with its name, never its value."""
    finished = await run_cli("serve", env={**settings, "BROKER_CACHE_KEYS_FILE": "/dev/null", variable: value})
    named = {"BROKER_CREDENTIAL_STORE": "BROKER_VAULT_ADDR"}.get(variable, variable)
    if value == "203.0.113.1":
        named = "cannot listen on 203.0.113.1"
    _is_refused(finished, named)


async def test_all_missing_settings_are_named_at_once() -> None:
    """`serve` without any settings lists what it needs, so that no second start is wasted."""
    _is_refused(await run_cli("serve"), "BROKER_POLICY_FILE is", "BROKER_VAULT_ADDR is", "BROKER_VAULT_TOKEN or")


@pytest.mark.parametrize(
    "words",
    ["serve", "org list", "org check {}", "org remove {} --yes", "org migrate {} --back", "secret rotate {} --now"],
)
async def test_a_missing_directory_of_credentials(settings: dict[str, str], words: str) -> None:
    """It is a wrong setting to every command that needs it, not a store that is unavailable now: exit code 2."""
    missing = {**settings, "BROKER_CREDENTIAL_DIR": "/nope"}
    finished = await run_cli(*words.format("0123456789ABCDEF01234567@AdobeOrg").split(), env=missing)
    _is_refused(finished, "BROKER_CREDENTIAL_DIR: is not a directory")


async def test_doctor_checks_the_rest_without_a_directory_of_credentials(settings: dict[str, str]) -> None:
    """It reports a missing directory as one of its findings, with exit code 1."""
    finished = await run_cli("doctor", "--json", env={**settings, "BROKER_CREDENTIAL_DIR": "/nope"})
    found = {check["name"]: check["status"] for check in json.loads(finished.stdout)["checks"]}
    assert (finished.code, found["credential directory"], found["policy"]) == (1, "failed", "ok")


async def test_a_proxy_of_the_environment_is_not_used_and_that_is_logged(settings: dict[str, str]) -> None:
    """`HTTPS_PROXY` is not read: the start says so once, with the setting to use instead."""
    async with running_cli("serve", env={**settings, "HTTPS_PROXY": f"http://u:{CANARY}@127.0.0.1:1"}) as cli:
        await cli.said(LISTENING, stream="stderr")
        finished = await cli.stop()

    assert finished.stderr.count("HTTPS_PROXY is set, but the broker does not read it") == 1
    assert "BROKER_PROXY_URL" in finished.stderr
    assert CANARY not in finished.stderr


async def test_a_proxy_of_the_environment_is_not_logged_if_the_broker_has_one(settings: dict[str, str]) -> None:
    """With `BROKER_PROXY_URL` set, a set `HTTPS_PROXY` causes no warning."""
    proxies = {"HTTPS_PROXY": "http://127.0.0.1:1", "BROKER_PROXY_URL": "http://127.0.0.1:1"}
    async with running_cli("serve", env={**settings, **proxies}) as cli:
        await cli.said(LISTENING, stream="stderr")
        finished = await cli.stop()

    assert "HTTPS_PROXY" not in finished.stderr


async def test_bad_policy(settings: dict[str, str], tmp_path: Path) -> None:
    """A bad policy stops the start and is named by its variable and place."""
    (tmp_path / "policy.yaml").write_text(f"version: 1\n{CANARY}: 1\n")
    _is_refused(await run_cli("serve", env=settings), "BROKER_POLICY_FILE: policy: has an unknown field")


@pytest.mark.parametrize("content", [None, "", f'{{"version": 1, "keys": [{{"id": "a", "key": "{CANARY}"}}]}}'])
async def test_bad_key_ring(settings: dict[str, str], tmp_path: Path, content: str | None) -> None:
    """A missing or bad key ring stops the start, and nothing of it is shown."""
    file = tmp_path / "keys.json"
    if content is not None:
        file.write_text(content)
    more = {"BROKER_REDIS_URL": f"redis://:{CANARY}@127.0.0.1:1", "BROKER_CACHE_KEYS_FILE": str(file)}
    _is_refused(await run_cli("serve", env={**settings, **more}), "BROKER_CACHE_KEYS_FILE: ")


async def test_bad_certificate(settings: dict[str, str], tmp_path: Path) -> None:
    """A certificate or key that cannot be used stops the start and is named by its variable; so does one alone."""
    cert, key, _ = server_certificate(tmp_path)
    tls = {**settings, "BROKER_TLS_CERT_FILE": str(cert), "BROKER_TLS_KEY_FILE": str(key)}
    _is_refused(await run_cli("serve", env={**tls, "BROKER_TLS_KEY_FILE": ""}), "BROKER_TLS_KEY_FILE is required")
    _is_refused(await run_cli("serve", env={**tls, "BROKER_TLS_CERT_FILE": "/nope"}), "BROKER_TLS_CERT_FILE: cannot")
    key.write_text(CANARY)
    _is_refused(await run_cli("serve", env=tls), "BROKER_TLS_KEY_FILE: must be a private key")


async def test_bad_redis_password_file(settings: dict[str, str], tmp_path: Path) -> None:
    """A password file that is missing or empty stops the start and is named by its variable."""
    keys, file = tmp_path / "keys.json", tmp_path / "password"
    keys.write_text((await run_cli("keys", "create")).stdout)
    more = {
        "BROKER_REDIS_URL": "redis://127.0.0.1:1",
        "BROKER_CACHE_KEYS_FILE": str(keys),
        "BROKER_REDIS_PASSWORD_FILE": str(file),
    }
    for content in (None, "\n"):
        if content is not None:
            file.write_text(content)
        _is_refused(await run_cli("serve", env={**settings, **more}), "BROKER_REDIS_PASSWORD_FILE: ")
    del more["BROKER_REDIS_PASSWORD_FILE"]
    more["BROKER_REDIS_SENTINEL_PASSWORD_FILE"] = str(file)
    more["BROKER_REDIS_URL"] = "redis+sentinel://127.0.0.1:1/tokens"
    _is_refused(await run_cli("serve", env={**settings, **more}), "BROKER_REDIS_SENTINEL_PASSWORD_FILE: ")


async def test_audit_file_cannot_be_written(settings: dict[str, str], tmp_path: Path) -> None:
    """An audit file that cannot be opened stops the start: there is no service without an audit log."""
    more = {"BROKER_AUDIT_FILE": str(tmp_path / "no" / "audit.log")}
    _is_refused(await run_cli("serve", env={**settings, **more}), "BROKER_AUDIT_FILE: cannot be opened")


async def test_port_in_use(settings: dict[str, str]) -> None:
    """A port that is taken is one sentence."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        _is_refused(await run_cli("serve", env={**settings, "BROKER_PORT": port}), port, "address already in use")


async def test_sandbox() -> None:
    """The sandbox alone prints its URL and a curl line that yields a token, and ends cleanly."""
    async with running_cli("sandbox", "--port", "0", "--token-lifetime", "60") as cli:
        await cli.said(r"^sandbox of Adobe IMS at http://127\.0\.0\.1:\d+$")
        line = (await cli.said("^curl .*"))[0]
        token = json.loads((await run_shell(line)).stdout)
        ends = await run_shell(f"{line} | tail -c 1 | wc -l")
        finished = await cli.stop(signal.SIGINT)
    assert ends.stdout.strip() == "1", "the shell's prompt would follow on the same line"
    assert token["access_token"].startswith("eyJ")
    assert 50 <= token["expires_in"] <= 60
    assert (finished.code, finished.stderr) == (0, "")


async def test_sandbox_with_clients(tmp_path: Path) -> None:
    """The sandbox knows the clients of a file, and prints JSON if asked."""
    client = {
        "client_id": "c",
        "org_id": "0123456789ABCDEF01234567@AdobeOrg",
        "kind": "oauth_server_to_server",
        "client_secrets": [CANARY],
        "scopes": ["openid"],
    }
    file = tmp_path / "clients.json"
    file.write_text(json.dumps([client]))
    async with running_cli("sandbox", "--port", "0", "--json", "--clients", str(file)) as cli:
        said = json.loads((await cli.said("^{.*}$"))[0])
        listed = await run_shell(said["curl"])
        ends = await run_shell(f"{said['curl']} | tail -c 1 | wc -l")
        finished = await cli.stop()
    assert set(said) == {"sandbox", "clients", "curl"}
    assert said["clients"] == 1
    assert ends.stdout.strip() == "1", "the shell's prompt would follow on the same line"
    assert json.loads(listed.stdout)["clients"][0]["client_id"] == "c"
    assert CANARY not in finished.stdout + finished.stderr


@pytest.mark.parametrize(
    ("content", "more"), [("{", ()), (f'[{{"{CANARY}": 1}}]', ()), ("[]", ("--token-lifetime", "0")), (None, ())]
)
async def test_sandbox_refuses(tmp_path: Path, content: str | None, more: tuple[str, ...]) -> None:
    """A clients file or a lifetime that cannot be used is one sentence."""
    file = tmp_path / "clients.json"
    if content is not None:
        file.write_text(content)
    _is_refused(await run_cli("sandbox", "--port", "0", "--clients", str(file), *more))


async def test_sandbox_port_and_lag() -> None:
    """The sandbox takes its lag as an option; a port that is taken, or a negative lag, is one sentence."""
    async with running_cli("sandbox", "--port", "0", "--json", "--last-used-lag", "60") as cli:
        url = json.loads((await cli.said("^{.*}$"))[0])["sandbox"]
        settings = json.loads((await run_shell(f"curl -sS {url}/sandbox/settings")).stdout)
        _is_refused(await run_cli("sandbox", "--port", url.rpartition(":")[2]), "already in use. Choose another --port")
    assert settings["last_used_lag"] == 60
    _is_refused(await run_cli("sandbox", "--port", "0", "--last-used-lag", "-1"), "last_used_lag must be")


async def test_pipes_are_respected() -> None:
    """A closed pipe prints no error, and output is never coloured."""
    finished = await run_shell(f"{shlex.join(CLI)} keys create | head -c 1")
    assert (finished.code, finished.stdout, finished.stderr) == (0, "{\n", "")
    finished = await run_cli("--help", env={"FORCE_COLOR": "1", "TERM": "xterm-256color"})
    assert "\x1b" not in finished.stdout
