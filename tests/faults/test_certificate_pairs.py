"""Row 86: certificates for the connections to Vault and Redis are replaced under load: the broker's, the servers'."""

from __future__ import annotations

import json
import os
import signal
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.asking_servers import AskingVault, asking_redis, issued_files
from tests.support.backends import RedisBackend, sandbox_backend
from tests.support.durable_vault import durable_vault
from tests.support.fleet import Backends, Fleet, running_fleet
from tests.support.replaced_pair import replace_under_load
from tests.support.replica import BrokerProcess
from tests.support.tenants import Tenant
from tests.support.tls import Authority, IssuedCertificate
from tests.support.traffic import Traffic, traffic
from tests.support.waiting import until, until_answered
from tests.support.wire import Reply

RATE = 50
WARM = 10


class Encrypted:
    """A broker whose connections to Vault and Redis need client certificates.

    Args:
        fleet: The broker's parts.
        authority: Signs certificates that both servers trust.
        vault: The listener of Vault.
        folder: Has folders for the two pairs, and those of the servers.

    """

    def __init__(self, fleet: Fleet, authority: Authority, vault: AskingVault, folder: Path) -> None:
        self.fleet = fleet
        self.authority = authority
        self.bundle = vault.cacert
        self.redis_folder = folder / "redis"
        self._vault_port = urlsplit(vault.addr).port or 0
        self.pairs: dict[str, tuple[Path, Path]] = {}
        settings = {"VAULT_ADDR": vault.addr}
        for name in ("VAULT", "REDIS"):
            place = folder / "pairs" / name.lower()
            place.mkdir()
            self.pairs[name] = certificate, key = issued_files(place, authority)
            settings |= {f"{name}_CACERT": str(vault.cacert)}
            settings |= {f"{name}_CERT_FILE": str(certificate), f"{name}_KEY_FILE": str(key)}
        [self.replica] = fleet.start(1, **settings)

    def new_pair(self, authority: Authority | None = None) -> IssuedCertificate:
        """A client certificate, of the trusted authority if none is given."""
        return (authority or self.authority).issue("client.example")

    def renew_servers(self, authority: Authority) -> None:
        """Give both servers new certificates, of any authority; open connections stay."""
        for folder in (self.bundle.parent, self.redis_folder):
            issued = authority.issue()
            (folder / "server.pem").write_bytes(issued.chain)
            (folder / "server.key").write_bytes(issued.key)
        os.kill(self.fleet.vault.pid, signal.SIGHUP)
        files = {"tls-cert-file": "server.pem", "tls-key-file": "server.key"}
        words = [word for option, file in files.items() for word in (option, str(self.redis_folder / file))]
        self.fleet.redis.server.run("CONFIG", "SET", *words)

    def redis_trusts(self, authority: Authority) -> None:
        """Let Redis, and its administrator, who presents the certificate of the server, trust a further authority."""
        bundle = self.redis_folder / "ca.pem"
        bundle.write_bytes(self.authority.pem + authority.pem)
        self.fleet.redis.server.run("CONFIG", "SET", "tls-ca-cert-file", str(bundle))

    def broker_trusts(self, authority: Authority) -> None:
        """Let the broker trust a further authority."""
        self.bundle.write_bytes(self.authority.pem + authority.pem)

    def presented(self) -> list[bytes]:
        """The certificates that Vault and Redis present to a new connection."""
        ports = (self._vault_port, self.fleet.redis.server.port)
        return [ssl.get_server_certificate(("127.0.0.1", port)).encode() for port in ports]

    async def cold(self) -> Reply:
        """The answer for a tenant that no one has asked for, over new connections to Redis."""
        self.fleet.redis.server.run("CLIENT", "KILL", "TYPE", "normal")
        return await self.replica.token(self.fleet.tenant().org)

    async def succeeds(self) -> None:
        """Check that a cold tenant is served."""
        assert (await self.cold()).status == 200

    def warnings(self) -> list[str]:
        """What the broker has told operators so far."""
        lines = map(json.loads, filter(lambda line: line[:1] == "{", _lines(self.replica)))
        return [f"{line['message']} {line.get('event', '')}" for line in lines if line["level"] == "warning"]


def _lines(replica: BrokerProcess) -> list[str]:
    return replica.process.stderr.read_text().splitlines()


@pytest.fixture
def encrypted(tmp_path: Path) -> Iterator[Encrypted]:
    """A broker, and servers of its own."""
    authority = Authority()
    for name in ("vault", "redis", "broker", "pairs"):
        (tmp_path / name).mkdir()
    listener = AskingVault(tmp_path / "vault", authority)
    with ExitStack() as stack:
        # Not a Vault in dev mode: it panics when it is told to read its certificates again.
        _, vault = stack.enter_context(durable_vault(tmp_path / "vault", listener.config_file))
        redis = RedisBackend(stack.enter_context(asking_redis(tmp_path / "redis", authority)), "")
        sandbox = stack.enter_context(sandbox_backend(tmp_path / "broker"))
        fleet = stack.enter_context(running_fleet(Backends(redis, vault, sandbox), tmp_path / "broker", 0))
        yield Encrypted(fleet, authority, listener, tmp_path)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("key_first", [False, True])
async def test_pairs_replaced_one_file_at_a_time_cost_no_request(encrypted: Encrypted, key_first: bool) -> None:
    """Until both files match, the pair in force is presented; then the new one. No request fails, warm or cold."""
    replica, warm = encrypted.replica, [encrypted.fleet.tenant() for _ in range(WARM)]
    assert {(await replica.token(tenant.org)).status for tenant in warm} == {200}
    async with traffic(_asking(replica, warm), RATE) as seen:
        for files in encrypted.pairs.values():
            await replace_under_load(encrypted.succeeds, files, encrypted.new_pair(), key_first=key_first)
            await encrypted.succeeds()
        told = "\n".join(encrypted.warnings())
        assert "certificate for Vault cannot be used, the last one stays: BROKER_VAULT_KEY_FILE" in told
        # What is renewed is presented: with pairs of a stranger a cold tenant, who needs Vault, gets no token.
        for certificate, key in encrypted.pairs.values():
            strange = encrypted.new_pair(Authority())
            certificate.write_bytes(strange.chain)
            key.write_bytes(strange.key)
        await until_answered(lambda: _is(encrypted, 503), 20)
        for certificate, key in encrypted.pairs.values():
            good = encrypted.new_pair()
            certificate.write_bytes(good.chain)
            key.write_bytes(good.key)
        await until_answered(lambda: _is(encrypted, 200), 20)
    assert len(seen.replies) > RATE
    assert seen.failures() == []


@pytest.mark.timeout(180)
async def test_new_certificates_of_the_servers_cost_no_request(encrypted: Encrypted) -> None:
    """Vault and Redis get new certificates, then some of another authority; warm tenants notice neither.

    Cold tenants notice only the second, until the bundles of the broker have that authority, without a restart.
    """
    replica, warm = encrypted.replica, [encrypted.fleet.tenant() for _ in range(WARM)]
    assert {(await replica.token(tenant.org)).status for tenant in warm} == {200}
    async with traffic(_asking(replica, warm), RATE) as seen:
        before = encrypted.presented()
        encrypted.renew_servers(encrypted.authority)
        await until(lambda: not set(before) & set(encrypted.presented()), 20)
        await encrypted.succeeds()
        await _goes_on(seen)
        other = Authority()
        encrypted.redis_trusts(other)
        encrypted.renew_servers(other)
        await until_answered(lambda: _is(encrypted, 503), 20)
        await _goes_on(seen)
        encrypted.broker_trusts(other)
        await until_answered(lambda: _is(encrypted, 200), 20)
        await _goes_on(seen)
    assert seen.failures() == []


async def _goes_on(seen: Traffic) -> None:
    """Wait for a second's worth of further answers."""
    enough = len(seen.replies) + RATE
    await until(lambda: len(seen.replies) >= enough, 20)


def _asking(replica: BrokerProcess, tenants: list[Tenant]) -> Callable[[int], Awaitable[Reply]]:
    return lambda number: replica.token(tenants[number % len(tenants)].org)


async def _is(encrypted: Encrypted, status: int) -> bool:
    return (await encrypted.cold()).status == status
