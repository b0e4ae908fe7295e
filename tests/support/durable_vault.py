"""A real Vault with its storage in files: it can be killed and started again, as one in production."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import requests

from tests.support.children import Child, free_port, wait_until
from tests.support.tools import require
from tests.support.vault_server import MOUNT, VaultServer

_SEALED = 503


class DurableVault:
    """The process, and the way to what it stores.

    Args:
        folder: The folder for its storage, its configuration and its log.
        further: A further file of configuration.

    """

    def __init__(self, folder: Path, further: Path | None = None) -> None:
        port = free_port()
        config = folder / "vault.json"
        config.write_text(
            json.dumps(
                {
                    "storage": {"file": {"path": str(folder / "vault-storage")}},
                    "listener": {"tcp": {"address": f"127.0.0.1:{port}", "tls_disable": True}},
                    "disable_mlock": True,
                    "api_addr": f"http://127.0.0.1:{port}",
                }
            )
        )
        self.port = port
        self._addr = f"http://127.0.0.1:{port}"
        self._folder = folder
        self._unseal_key = ""
        files = [config] if further is None else [config, further]
        command = [str(require("vault")), "server", *(f"-config={file}" for file in files)]
        self.process = Child("vault", command, folder, {"HOME": str(folder)})

    def prepared(self) -> VaultServer:
        """Start it for the first time: initialised, unsealed, with what the tests use."""
        self.process.launch()
        self._wait_for(501)
        body = {"secret_shares": 1, "secret_threshold": 1}
        made = requests.put(f"{self._addr}/v1/sys/init", json=body, timeout=10).json()
        self._unseal_key = made["keys"][0]
        self._unseal()
        server = VaultServer(self._addr, made["root_token"], self._folder, self.process.pid)
        server.write(f"sys/mounts/{MOUNT}", type="kv", options={"version": "2"})
        server.prepare()
        return server

    def start(self) -> None:
        """Start it again after it was killed, and unseal it."""
        self.process.launch()
        self._wait_for(_SEALED)
        self._unseal()

    def _unseal(self) -> None:
        requests.put(f"{self._addr}/v1/sys/unseal", json={"key": self._unseal_key}, timeout=10).raise_for_status()
        self._wait_for(200)

    def _wait_for(self, status: int) -> None:
        wait_until(lambda: self._health() == status, f"Vault does not answer {status}: {self.process.tail()}")

    def _health(self) -> int:
        try:
            return requests.get(f"{self._addr}/v1/sys/health", timeout=2).status_code
        except requests.RequestException:
            return 0


@contextlib.contextmanager
def durable_vault(folder: Path, further: Path | None = None) -> Iterator[tuple[DurableVault, VaultServer]]:
    """A Vault for as long as the context lasts, with a further file of configuration."""
    vault = DurableVault(folder, further)
    try:
        yield vault, vault.prepared()
    finally:
        vault.process.thaw()
        vault.process.kill()
