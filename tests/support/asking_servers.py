"""A real Vault and a real Redis that take only clients with a certificate of an authority."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.adapters.vault import VaultConfig
from tests.support.children import free_port
from tests.support.redis_server import RedisServer, running_redis
from tests.support.tls import Authority


class AskingVault:
    """The configuration of a Vault with a listener that asks for a certificate.

    Args:
        folder: Where the files are.
        authority: Signs certificates that Vault trusts.

    """

    def __init__(self, folder: Path, authority: Authority) -> None:
        self._port = free_port()
        self.addr = f"https://127.0.0.1:{self._port}"
        self.cacert = folder / "ca.pem"
        server = authority.issue()
        for name, content in (("ca.pem", authority.pem), ("server.pem", server.chain), ("server.key", server.key)):
            (folder / name).write_bytes(content)
        self.config_file = folder / "listener.hcl"
        self.config_file.write_text(
            f'listener "tcp" {{\naddress = "127.0.0.1:{self._port}"\ncluster_address = "127.0.0.1:{free_port()}"\n'
            f'tls_cert_file = "{folder}/server.pem"\ntls_key_file = "{folder}/server.key"\n'
            f'tls_client_ca_file = "{folder}/ca.pem"\ntls_require_and_verify_client_cert = true\n}}\n'
        )

    def config(self, token: str) -> VaultConfig:
        """Settings without a client certificate."""
        return VaultConfig(addr=self.addr, token=token, cacert=self.cacert)


@contextmanager
def asking_redis(folder: Path, authority: Authority) -> Iterator[RedisServer]:
    """A server that takes only clients with a certificate of `authority`, whose certificate is ``ca.pem``."""
    issued = authority.issue()
    files = (folder / "server.pem", folder / "server.key", folder / "ca.pem")
    for file, content in zip(files, (issued.chain, issued.key, authority.pem), strict=True):
        file.write_bytes(content)
    with running_redis(tls=files, options=["--tls-auth-clients", "yes"]) as server:
        yield server


def issued_files(folder: Path, authority: Authority) -> tuple[Path, Path]:
    """Files with a new client certificate of `authority`, and its key."""
    pair = authority.issue("client.example")
    files = folder / "tls.crt", folder / "tls.key"
    for file, content in zip(files, (pair.chain, pair.key), strict=True):
        file.write_bytes(content)
    return files
