"""Fixtures of this suite: an API server, a second one that tests restart, and the backends of a fleet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.backends import redis_backend, sandbox_backend
from tests.support.fleet import Backends
from tests.support.kube_api import KubeApi, kube_api, running_kube_api
from tests.support.vault_server import VaultServer, vault_server

__all__ = ["kube_api", "vault_server"]


@pytest.fixture(scope="session")
def other_cluster() -> Iterator[KubeApi]:
    """Another cluster, whose issuer has the same name. Tests restart it, and change its RBAC."""
    with running_kube_api() as api:
        yield api


@pytest.fixture(scope="session")
def backends(vault_server: VaultServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backends]:
    """Redis, Vault and the sandbox."""
    with redis_backend() as redis, sandbox_backend(tmp_path_factory.mktemp("sandbox")) as sandbox:
        yield Backends(redis, vault_server, sandbox)
