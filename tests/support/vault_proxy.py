"""A real Vault Proxy or Vault Agent on a loopback port, in front of a real Vault."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import requests

from tests.support.children import free_port, wait_until
from tests.support.tools import require
from tests.support.vault_server import VaultServer

_STOP_DEADLINE = 10.0


@contextlib.contextmanager
def running_proxy(
    program: Literal["proxy", "agent"], server: VaultServer, folder: Path, role_id: str | None
) -> Iterator[str]:
    """The URL of a proxy that adds the token of an AppRole without secret id; without a role it adds none."""
    port = free_port()
    config, log = folder / f"{program}.hcl", folder / f"{program}.log"
    config.write_text(_config(server, port, folder, role_id))
    command = [str(require("vault")), program, f"-config={config}"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env={"HOME": str(folder)})
    addr = f"http://127.0.0.1:{port}"
    try:
        wait_until(
            lambda: process.poll() is not None or _answers(addr, role_id is not None), "The proxy does not start"
        )
        if process.poll() is not None:
            pytest.fail(f"The proxy ended at its start: {log.read_text()[-2000:]}", pytrace=False)
        yield addr
    finally:
        process.terminate()
        process.wait(_STOP_DEADLINE)


def _config(server: VaultServer, port: int, folder: Path, role_id: str | None) -> str:
    lines = [
        f'vault {{ address = "{server.addr}" }}',
        f'listener "tcp" {{\naddress = "127.0.0.1:{port}"\ntls_disable = true\nrequire_request_header = true\n}}',
        f"api_proxy {{ use_auto_auth_token = {'false' if role_id is None else 'true'} }}",
    ]
    if role_id is not None:
        (folder / "role_id").write_text(role_id)
        lines.append(
            f'auto_auth {{ method "approle" {{ config = {{ role_id_file_path = "{folder / "role_id"}" }} }} }}'
        )
    return "\n".join(lines)


def _answers(addr: str, with_token: bool) -> bool:
    path = "auth/token/lookup-self" if with_token else "sys/health"
    try:
        answer = requests.get(f"{addr}/v1/{path}", headers={"X-Vault-Request": "true"}, timeout=2)
    except requests.RequestException:
        return False
    return answer.status_code == requests.codes.ok
