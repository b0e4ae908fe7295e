"""Keeping the broker's token alive in a real Vault."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from app.domain.names import CredentialRef
from tests.support.documents import oauth_document, ref_of
from tests.support.vault_broker import VaultSessionAndStore, approle_config, broker_with
from tests.support.vault_server import VaultServer

_numbers = itertools.count(0xD0000)
LOGIN = "auth/approle/login"
RENEW = "auth/token/renew-self"


@pytest.fixture
def ref(vault_server: VaultServer) -> CredentialRef:
    """A credential that is stored, and that no other test uses."""
    ref = ref_of(next(_numbers))
    vault_server.put(ref.org, ref.name, oauth_document(ref))
    return ref


@pytest.fixture
def role(request: pytest.FixtureRequest) -> str:
    """A name that no other test uses."""
    return f"renewed-{next(_numbers)}"


async def until_requests(server: VaultServer, path: str, count: int) -> None:
    """Wait until the server has seen `count` requests for `path`."""
    async with asyncio.timeout(20):
        while len(server.requests(path)) < count:  # noqa: ASYNC110  # another process's log has no event
            await asyncio.sleep(0.05)


async def until_login(broker: VaultSessionAndStore, outcome: str) -> None:
    """Wait until a login has had this outcome."""
    async with asyncio.timeout(20):
        while outcome not in broker.events.calls("login"):  # noqa: ASYNC110  # the sink only remembers
            await asyncio.sleep(0.02)


class TestRenewal:
    """Keeping the token alive."""

    async def test_at_two_thirds(self, vault_server: VaultServer, ref: CredentialRef, role: str) -> None:
        """A token with a lifetime of six seconds is renewed in time, so no call is ever refused."""
        config = approle_config(vault_server, role, token_ttl="6s", token_max_ttl="1h")
        before = len(vault_server.requests(RENEW))
        async with broker_with(config) as broker:
            broker.session.start()
            await until_requests(vault_server, RENEW, before + 2)
            assert (await broker.store.fetch(ref)).ref == ref
            assert broker.events.calls("login") == ["ok"]
            assert set(broker.events.calls("renew")) == {"ok"}

    async def test_end_of_its_life(self, vault_server: VaultServer, ref: CredentialRef, role: str) -> None:
        """A token that cannot be renewed any further is replaced before it ends."""
        config = approle_config(vault_server, role, token_ttl="3s", token_max_ttl="3s")
        before = len(vault_server.requests(LOGIN))
        async with broker_with(config) as broker:
            broker.session.start()
            await until_requests(vault_server, LOGIN, before + 2)
            assert (await broker.store.fetch(ref)).ref == ref
            assert broker.events.calls("read") == ["ok"]

    async def test_token_that_cannot_be_renewed(self, vault_server: VaultServer, ref: CredentialRef, role: str) -> None:
        """A batch token is replaced at two thirds of its lifetime."""
        config = approle_config(vault_server, role, token_ttl="3s", token_type="batch")
        before = len(vault_server.requests(LOGIN))
        async with broker_with(config) as broker:
            broker.session.start()
            await until_requests(vault_server, LOGIN, before + 2)
            assert (await broker.store.fetch(ref)).ref == ref
            assert broker.events.calls("renew") == []

    async def test_start_before_vault(self, vault_server: VaultServer, ref: CredentialRef, role: str) -> None:
        """A session started while Vault is sealed logs in by itself once it can."""
        config = approle_config(vault_server, role)
        async with broker_with(config) as broker:
            vault_server.seal()
            try:
                broker.session.start()
                await until_login(broker, "vault_unavailable")
            finally:
                vault_server.unseal()
            await until_login(broker, "ok")
