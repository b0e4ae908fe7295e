"""A real Vault (or OpenBao) in development mode on a loopback port, with what tests need to prepare in it."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import hvac
import pytest
import requests
from hvac.exceptions import VaultError

from tests.support.children import free_port
from tests.support.tools import require

MOUNT = "secret"
PREFIX = "ims"

_START_DEADLINE = 30.0
_STOP_DEADLINE = 10.0
_UNSEAL_KEY = re.compile(r"Unseal Key: (\S+)")


class VaultServer:
    """A running server. Its methods use the root token; the broker under test does only if a test says so.

    Args:
        addr: Base URL.
        root_token: The token that may do everything.
        folder: Where it logs; empty afterwards.
        pid: Its process id.

    """

    def __init__(self, addr: str, root_token: str, folder: Path, pid: int) -> None:
        self.addr = addr
        self.root_token = root_token
        self.pid = pid
        self._folder = folder
        self._root = hvac.Client(url=addr, token=root_token, timeout=10)

    @property
    def _audit_log(self) -> Path:
        return self._folder / "audit.log"

    def prepare(self) -> None:
        """Turn on what the tests use: the audit log, AppRole, transit."""
        self.write("sys/audit/file", type="file", options={"file_path": str(self._audit_log)})
        self.write("sys/auth/approle", type="approle")
        self.write("sys/mounts/transit", type="transit")

    def write(self, path: str, **data: object) -> Mapping[str, Any]:
        """Write to any path of the API; the answer's JSON."""
        answer = self._root.write_data(path, data=data)
        return answer if isinstance(answer, dict) else {}

    def read(self, path: str) -> Mapping[str, Any]:
        """Read any path of the API."""
        answer = self._root.read(path)
        assert isinstance(answer, dict), path
        return answer

    def put(self, org: str, name: str, document: Mapping[str, object]) -> int:
        """Store a credential document; its version."""
        answer = self.write(f"{MOUNT}/data/{PREFIX}/{org}/{name}", data=dict(document))
        return int(answer["data"]["version"])

    def delete(self, org: str, name: str) -> None:
        """Delete the newest version of a document; the path stays."""
        self._root.delete(f"{MOUNT}/data/{PREFIX}/{org}/{name}")

    def destroy(self, org: str, name: str, version: int) -> None:
        """Destroy a version of a document for good; the path stays."""
        self.write(f"{MOUNT}/destroy/{PREFIX}/{org}/{name}", versions=[version])

    def remove(self, org: str, name: str) -> None:
        """Remove a document with all its versions."""
        self._root.delete(f"{MOUNT}/metadata/{PREFIX}/{org}/{name}")

    def policy(self, name: str, *rules: tuple[str, str]) -> None:
        """Set a policy; each rule is a path and its capabilities, separated by commas."""
        lines = [
            f'path "{path}" {{ capabilities = [{", ".join(json.dumps(word) for word in words.split(","))}] }}'
            for path, words in rules
        ]
        self.write(f"sys/policies/acl/{name}", policy="\n".join(lines))

    def reader_policy(self, name: str = "reader") -> str:
        """A policy as the README gives it to operators: read and list credentials, sign with transit keys."""
        self.policy(
            name,
            (f"{MOUNT}/data/{PREFIX}/*", "read"),
            (f"{MOUNT}/metadata/{PREFIX}", "list"),
            (f"{MOUNT}/metadata/{PREFIX}/*", "list"),
            ("transit/sign/+", "update"),
        )
        return name

    def editor_policy(self, name: str = "editor") -> str:
        """A policy for the commands that change credentials (docs/least-privilege.md)."""
        self.policy(
            name,
            (f"{MOUNT}/data/{PREFIX}/*", "create,read,update,delete"),
            (f"{MOUNT}/metadata/{PREFIX}/*", "read,list,delete"),
        )
        return name

    def mover_policy(self, name: str = "mover") -> str:
        """A policy for the commands that move keys into the transit engine, and prove them there."""
        self.policy(
            name,
            ("transit/wrapping_key", "read"),
            ("transit/keys/+", "read"),
            ("transit/keys/+/import", "update"),
            ("transit/sign/+", "update"),
        )
        return name

    def token(self, *policies: str, ttl: str = "1h", **options: object) -> str:
        """A new token with these policies."""
        answer = self.write("auth/token/create-orphan", policies=list(policies), ttl=ttl, **options)
        return str(answer["auth"]["client_token"])

    def status_as(self, token: str, path: str, data: Mapping[str, object] | None = None) -> int:
        """The HTTP status of reading a path with another token, or of writing `data` to it."""
        method = "GET" if data is None else "POST"
        headers = {"X-Vault-Token": token}
        body = None if data is None else json.dumps(data)
        return requests.request(method, f"{self.addr}/v1/{path}", headers=headers, data=body, timeout=10).status_code

    def revoke(self, token: str) -> None:
        """Revoke a token, with immediate effect."""
        self.write("auth/token/revoke", token=token)

    def approle(self, name: str, *policies: str, **options: object) -> tuple[str, str]:
        """A new AppRole; its role id and a secret id."""
        self.write(f"auth/approle/role/{name}", token_policies=list(policies), **options)
        role_id = self.read(f"auth/approle/role/{name}/role-id")["data"]["role_id"]
        secret_id = self.write(f"auth/approle/role/{name}/secret-id")["data"]["secret_id"]
        return str(role_id), str(secret_id)

    def transit_key(self, name: str, kind: str = "rsa-2048") -> str:
        """Make a transit key; its public half as PEM text."""
        self.write(f"transit/keys/{name}", type=kind)
        keys = self.read(f"transit/keys/{name}")["data"]["keys"]
        return str(keys["1"]["public_key"])

    def requests(self, path: str) -> list[Mapping[str, Any]]:
        """The requests for exactly this path that reached the server so far, from its audit log."""
        lines = self._audit_log.read_bytes().splitlines(keepends=True)
        entries = [json.loads(line) for line in lines if line.endswith(b"\n")]  # not the one being written
        return [entry for entry in entries if entry["type"] == "request" and entry["request"]["path"] == path]

    def tokens_of(self, role: str) -> list[str]:
        """Accessors of the living tokens of an AppRole."""
        return [accessor for accessor, meta in self.living_tokens("role_name") if meta["role_name"] == role]

    def living_tokens(self, told: str) -> list[tuple[str, dict[str, str]]]:
        """Accessor and metadata of the living tokens whose metadata have `told`."""
        found = []
        for accessor in self._root.list("auth/token/accessors")["data"]["keys"]:  # type: ignore[index]  # JSON
            try:
                data = self.write("auth/token/lookup-accessor", accessor=accessor)["data"]
            except VaultError:
                continue  # It expired between the listing and the look.
            if told in (meta := data.get("meta") or {}):
                found.append((str(accessor), dict(meta)))
        return found

    def revoke_accessor(self, accessor: str) -> None:
        """Revoke the token that has this accessor."""
        self.write("auth/token/revoke-accessor", accessor=accessor)

    def seal(self) -> None:
        """Seal the server: it answers 503 from now on."""
        self.write("sys/seal")

    def unseal(self) -> None:
        """Undo `seal`; everything stored is still there."""
        found = _UNSEAL_KEY.search((self._folder / "server.log").read_text())
        assert found is not None
        self._root.sys.submit_unseal_key(found[1])
        _wait(lambda: _is_active(self.addr), "Vault does not come back after unsealing")


@contextlib.contextmanager
def running_vault(folder: Path, config: Path | None = None) -> Iterator[VaultServer]:
    """A server for as long as the context lasts, with a further file of configuration."""
    binary = require("vault")
    port = free_port()
    addr, root_token = f"http://127.0.0.1:{port}", "root-of-the-tests"
    command = [
        str(binary),
        "server",
        "-dev",
        "-dev-no-store-token",
        f"-dev-root-token-id={root_token}",
        f"-dev-listen-address=127.0.0.1:{port}",
        *(() if config is None else (f"-config={config}",)),
    ]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env={"HOME": str(folder)})
    try:
        _wait(lambda: process.poll() is not None or _is_active(addr), "Vault does not start")
        if process.poll() is not None:
            pytest.fail(f"Vault ended at its start: {(folder / 'server.log').read_text()[-2000:]}", pytrace=False)
        server = VaultServer(addr, root_token, folder, process.pid)
        server.prepare()
        yield server
    finally:
        process.terminate()
        try:
            process.wait(_STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_DEADLINE)


@pytest.fixture(scope="session")
def vault_server() -> Iterator[VaultServer]:
    """One server for all tests of the run; each test uses names of its own in it."""
    with tempfile.TemporaryDirectory(prefix="vault-") as folder, running_vault(Path(folder)) as server:
        yield server


def _is_active(addr: str) -> bool:
    try:
        return requests.get(f"{addr}/v1/sys/health", timeout=2).status_code == requests.codes.ok
    except requests.RequestException:
        return False


def _wait(ready: Callable[[], bool], complaint: str) -> None:
    end = time.monotonic() + _START_DEADLINE
    while not ready():
        if time.monotonic() > end:
            pytest.fail(complaint, pytrace=False)
        time.sleep(0.05)
