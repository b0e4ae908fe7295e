"""The parts that the whole suite shares: one Redis, one Vault, one sandbox, and one fleet of three replicas."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.backends import redis_backend, sandbox_backend
from tests.support.fleet import Backends, Fleet, running_fleet
from tests.support.issuer import AUDIENCE, SUBJECT, LocalIssuer, SigningKey, local_issuer
from tests.support.vault_server import VaultServer, vault_server

__all__ = ["vault_server"]


@pytest.fixture(scope="session")
def backends(vault_server: VaultServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backends]:
    """Redis, Vault and the sandbox for the tests that leave them alive."""
    with redis_backend() as redis, sandbox_backend(tmp_path_factory.mktemp("sandbox")) as sandbox:
        yield Backends(redis, vault_server, sandbox)


@pytest.fixture(scope="session")
def issuer() -> Iterator[LocalIssuer]:
    """An issuer that the shared fleet trusts."""
    with local_issuer(SigningKey(), SigningKey("elliptic", "ES256")) as running:
        yield running


@pytest.fixture(scope="session")
def shared_fleet(backends: Backends, issuer: LocalIssuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Three replicas; see `fleet`."""
    with running_fleet(backends, tmp_path_factory.mktemp("fleet"), 0) as running:
        trusted = {"issuer": issuer.name, "audience": AUDIENCE, "jwks_url": issuer.url}
        running.policy.issuer(trusted, "export", SUBJECT, {"orgs": ["*"]})
        running.start(3)
        yield running


@pytest.fixture
def fleet(shared_fleet: Fleet) -> Iterator[Fleet]:
    """The shared fleet, with no fault orders of other tests before or after. Each test makes tenants of its own."""
    shared_fleet.sandbox.clear_faults()
    yield shared_fleet
    shared_fleet.sandbox.clear_faults()


@pytest.fixture
def own_fleet(backends: Backends, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet without replicas, for a test that ends or breaks some: it starts those it needs."""
    backends.sandbox.clear_faults()
    with running_fleet(backends, tmp_path, 0) as running:
        yield running
    backends.sandbox.clear_faults()
