"""Row 86: the broker's client certificates for Vault and Redis are replaced one file at a time, under load."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.asking_servers import AskingVault, asking_redis, issued_files
from tests.support.backends import RedisBackend, sandbox_backend
from tests.support.fleet import Backends, Fleet, running_fleet
from tests.support.replaced_pair import replace_under_load
from tests.support.replica import BrokerProcess
from tests.support.tenants import Tenant
from tests.support.tls import Authority, IssuedCertificate
from tests.support.traffic import traffic
from tests.support.vault_server import running_vault
from tests.support.waiting import until_answered
from tests.support.wire import Reply

RATE = 50
WARM = 10


class Encrypted:
    """A broker whose connections to Vault and Redis need client certificates.

    Args:
        fleet: The broker's parts.
        authority: Signs certificates that both servers trust.
        vault: The listener of Vault.
        folder: Where the two pairs are.

    """

    def __init__(self, fleet: Fleet, authority: Authority, vault: AskingVault, folder: Path) -> None:
        self.fleet = fleet
        self.authority = authority
        self.pairs: dict[str, tuple[Path, Path]] = {}
        settings = {"VAULT_ADDR": vault.addr}
        for name in ("VAULT", "REDIS"):
            place = folder / name.lower()
            place.mkdir()
            self.pairs[name] = certificate, key = issued_files(place, authority)
            settings |= {f"{name}_CACERT": str(vault.cacert)}
            settings |= {f"{name}_CERT_FILE": str(certificate), f"{name}_KEY_FILE": str(key)}
        [self.replica] = fleet.start(1, **settings)

    def new_pair(self, authority: Authority | None = None) -> IssuedCertificate:
        """A client certificate, of the trusted authority if none is given."""
        return (authority or self.authority).issue("client.example")

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
        vault = stack.enter_context(running_vault(tmp_path / "vault", listener.config_file))
        redis = RedisBackend(stack.enter_context(asking_redis(tmp_path / "redis", authority)), "")
        sandbox = stack.enter_context(sandbox_backend(tmp_path / "broker"))
        fleet = stack.enter_context(running_fleet(Backends(redis, vault, sandbox), tmp_path / "broker", 0))
        yield Encrypted(fleet, authority, listener, tmp_path / "pairs")


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


def _asking(replica: BrokerProcess, tenants: list[Tenant]) -> Callable[[int], Awaitable[Reply]]:
    return lambda number: replica.token(tenants[number % len(tenants)].org)


async def _is(encrypted: Encrypted, status: int) -> bool:
    return (await encrypted.cold()).status == status
