"""What all gateways of this folder share: one sandbox, one broker, one Adobe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from tests.support.backends import SandboxBackend, sandbox_backend
from tests.support.broker_without_vault import BrokerWithoutVault
from tests.support.gateways import KEY, ORGS, Adobe, RunningGateway, adobe_stand_in, envoy, nginx
from tests.support.tenants import Tenant
from tests.support.wire import Header


@dataclass(frozen=True)
class GatewaySetup:
    """A gateway and its surroundings.

    Args:
        gateway: The gateway.
        broker: The broker it asks.
        adobe: Where it leads.
        first: The tenant of the document's first org.
        second: The tenant of its second org.
        callers: The headers that prove the applications that have credentials of their own, by name.
        key: The gateway's API key.

    """

    gateway: RunningGateway
    broker: BrokerWithoutVault
    adobe: Adobe
    first: Tenant
    second: Tenant
    callers: Mapping[str, Header]
    key: str


@dataclass(frozen=True)
class Surroundings:
    """What runs before the gateway starts."""

    broker: BrokerWithoutVault
    adobe: Adobe
    first: Tenant
    second: Tenant
    callers: Mapping[str, Header]
    key: str

    def real(self) -> dict[str, str]:
        """What is real in the place of the document's placeholders."""
        return {
            ORGS[0]: self.first.org,
            ORGS[1]: self.second.org,
            KEY: self.key,
            "/etc/ssl/certs/ca-certificates.crt": str(self.adobe.ca),
        }

    def around(self, gateway: RunningGateway) -> GatewaySetup:
        """The gateway among them."""
        return GatewaySetup(gateway, self.broker, self.adobe, self.first, self.second, self.callers, self.key)


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxBackend]:
    """The IMS of this folder."""
    with sandbox_backend(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture(scope="session")
def surroundings(sandbox: SandboxBackend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surroundings]:
    """A broker with two tenants, one with a sandbox name, and one caller: the gateway."""
    broker = BrokerWithoutVault(tmp_path_factory.mktemp("broker"), sandbox)
    first, second = broker.tenant(sandbox_name="stage"), broker.tenant()
    key = broker.policy.caller("journey-sender", {"orgs": ["*"]})
    callers = {
        # Made beforehand, because a changed policy takes seconds to be seen.
        "app": _bearer(broker.policy.caller("app", {"orgs": ["*"]})),
        "stranger": _bearer(broker.policy.caller("stranger", {"orgs": [second.org]})),
        "hasty": _bearer(broker.policy.caller("hasty", {"orgs": ["*"]}, rate_limit="1/h")),
        "hasty-too": _bearer(broker.policy.caller("hasty-too", {"orgs": ["*"]}, rate_limit="1/h")),
    }
    try:
        with adobe_stand_in(tmp_path_factory.mktemp("adobe")) as adobe:
            broker.start()
            yield Surroundings(broker, adobe, first, second, callers, key)
    finally:
        broker.replica.process.kill()


def _bearer(key: str) -> Header:
    return b"Authorization", b"Bearer " + key.encode()


@pytest.fixture(scope="session")
def nginx_rig(surroundings: Surroundings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewaySetup]:
    """See `behind_nginx`."""
    places = nginx_places(surroundings.broker.port, surroundings)
    with nginx(tmp_path_factory.mktemp("nginx"), {**surroundings.real(), **places}) as gateway:
        yield surroundings.around(gateway)


@pytest.fixture
def behind_nginx(nginx_rig: GatewaySetup) -> Iterator[GatewaySetup]:
    """The documented nginx; Adobe answers 200 by default."""
    yield nginx_rig
    nginx_rig.adobe.answer.clear()


@pytest.fixture(scope="session")
def authz_rig(surroundings: Surroundings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewaySetup]:
    """See `behind_authz`."""
    folder = tmp_path_factory.mktemp("envoy")
    real = {**surroundings.real(), **envoy_places(surroundings)}
    with envoy(folder, "envoy-ext-authz.yaml", real) as gateway:
        yield surroundings.around(gateway)


@pytest.fixture
def behind_authz(authz_rig: GatewaySetup) -> Iterator[GatewaySetup]:
    """The documented Envoy with ``ext_authz``; Adobe answers 200 by default."""
    yield authz_rig
    authz_rig.adobe.answer.clear()


def envoy_places(surroundings: Surroundings) -> dict[str, str]:
    """Addresses of the document and the real ones."""
    return {
        "address: broker.internal, port_value: 8080": f"address: 127.0.0.1, port_value: {surroundings.broker.port}",
        "address: platform.adobe.io, port_value: 443": f"address: 127.0.0.1, port_value: {surroundings.adobe.port}",
    }


def nginx_places(broker: int, surroundings: Surroundings) -> dict[str, str]:
    """Addresses of the document and the real ones, with what listens at a port in the broker's place."""
    return {
        "broker.internal:8080": f"127.0.0.1:{broker}",
        "platform.adobe.io:443": f"127.0.0.1:{surroundings.adobe.port}",
    }
