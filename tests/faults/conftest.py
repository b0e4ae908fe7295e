"""Dependencies that the tests of this folder break, and fleets over them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.backends import redis_backend, sandbox_backend
from tests.support.fleet import Backends, Fleet, running_fleet
from tests.support.redis_server import own_redis
from tests.support.vault_server import VaultServer, vault_server

__all__ = ["own_redis", "vault_server"]


@pytest.fixture(scope="module")
def backends(vault_server: VaultServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backends]:
    """A Redis and a sandbox of the module's own; Vault is shared."""
    with redis_backend() as redis, sandbox_backend(tmp_path_factory.mktemp("sandbox")) as sandbox:
        yield Backends(redis, vault_server, sandbox)


@pytest.fixture
def fleet(backends: Backends, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet without replicas: a test starts those that it needs."""
    backends.sandbox.clear_faults()
    with running_fleet(backends, tmp_path, 0) as running:
        yield running
    backends.sandbox.clear_faults()
