"""The broker's session with a real Vault: logins, refused tokens, policies, sealing, versions."""

from __future__ import annotations

import asyncio
import itertools
import traceback
from pathlib import Path

import pytest

from app.adapters.vault import VaultConfig, VaultCredentialStore
from app.domain.dependency_errors import CredentialStoreError
from app.domain.names import CredentialRef
from app.domain.tenant_errors import CredentialNotFoundError
from tests.support.documents import ALLOWED, CANARY, app_document, app_org_document, oauth_document, ref_of
from tests.support.vault_broker import approle_config, broker_with, token_config
from tests.support.vault_server import MOUNT, PREFIX, VaultServer

_numbers = itertools.count(0xA0000)
LOGIN = "auth/approle/login"


@pytest.fixture
def ref(vault_server: VaultServer) -> CredentialRef:
    """A credential that is stored, and that no other test uses."""
    ref = ref_of(next(_numbers))
    vault_server.put(ref.org, ref.name, oauth_document(ref))
    return ref


@pytest.fixture
def role(request: pytest.FixtureRequest) -> str:
    """A name that no other test uses."""
    return f"role-{next(_numbers)}"


class TestLogin:
    """How the broker gets its token."""

    async def test_token(self, vault_server: VaultServer, ref: CredentialRef) -> None:
        """A token given by value reads credentials."""
        token = vault_server.token(vault_server.reader_policy())
        async with broker_with(token_config(vault_server, token)) as broker:
            assert (await broker.store.fetch(ref)).ref == ref
            assert broker.events.calls("read") == ["ok"]

    async def test_token_without_the_default_policy(self, vault_server: VaultServer, ref: CredentialRef) -> None:
        """A token that may not even look itself up reads credentials."""
        token = vault_server.token(vault_server.reader_policy(), no_default_policy=True)
        async with broker_with(token_config(vault_server, token)) as broker:
            assert (await broker.store.fetch(ref)).ref == ref

    async def test_token_file(self, vault_server: VaultServer, ref: CredentialRef, tmp_path: Path) -> None:
        """A token file is read again when its token is refused."""
        file = tmp_path / "token"
        first, second = (vault_server.token(vault_server.reader_policy()) for _ in range(2))
        file.write_text(f"{first}\n")
        async with broker_with(VaultConfig(addr=vault_server.addr, token_file=file)) as broker:
            await broker.store.fetch(ref)
            vault_server.revoke(first)
            file.write_text(f"{second}\n")
            assert (await broker.store.fetch(ref)).ref == ref
            assert broker.events.calls("login") == ["ok", "ok"]

    async def test_approle(self, vault_server: VaultServer, ref: CredentialRef, role: str) -> None:
        """An AppRole logs in once for many calls."""
        async with broker_with(approle_config(vault_server, role)) as broker:
            for _ in range(3):
                assert (await broker.store.fetch(ref)).ref == ref
            assert broker.events.calls("login") == ["ok"]

    async def test_approle_by_a_file(
        self, vault_server: VaultServer, ref: CredentialRef, role: str, tmp_path: Path
    ) -> None:
        """The secret id file is read at each login: a new secret id, written before the old one ends, is used next."""
        role_id, first = vault_server.approle(role, vault_server.reader_policy())
        file = tmp_path / "secret_id"
        file.write_text(f"{first}\n")
        config = VaultConfig(addr=vault_server.addr, auth="approle", role_id=role_id, secret_id_file=file)
        async with broker_with(config) as broker:
            assert (await broker.store.fetch(ref)).ref == ref
            second = vault_server.write(f"auth/approle/role/{role}/secret-id")["data"]["secret_id"]
            vault_server.write(f"auth/approle/role/{role}/secret-id/destroy", secret_id=first)
            file.write_text(f"{second}\n")
            for accessor in vault_server.tokens_of(role):
                vault_server.revoke_accessor(accessor)
            assert (await broker.store.fetch(ref)).ref == ref
            assert broker.events.calls("login") == ["ok", "ok"]

    async def test_refused(self, vault_server: VaultServer, ref: CredentialRef, role: str) -> None:
        """The error for a login that Vault refuses names the settings to check, and not their values."""
        role_id, _ = vault_server.approle(role, vault_server.reader_policy())
        config = VaultConfig(addr=vault_server.addr, auth="approle", role_id=role_id, secret_id=CANARY)
        async with broker_with(config) as broker:
            with pytest.raises(CredentialStoreError, match="BROKER_VAULT_SECRET_ID") as caught:
                await broker.store.fetch(ref)
            assert CANARY not in "".join(traceback.format_exception(caught.value, limit=0))
            assert CANARY not in repr(config)

    async def test_refused_logins_are_not_repeated_at_once(
        self, vault_server: VaultServer, ref: CredentialRef, role: str
    ) -> None:
        """Fifty calls that need a login cost one attempt if Vault refuses it."""
        role_id, _ = vault_server.approle(role, vault_server.reader_policy())
        config = VaultConfig(addr=vault_server.addr, auth="approle", role_id=role_id, secret_id="wrong")
        async with broker_with(config) as broker:
            for _ in range(5):
                fetches = [broker.store.fetch(ref) for _ in range(10)]
                results = await asyncio.gather(*fetches, return_exceptions=True)
                assert all(isinstance(result, CredentialStoreError) for result in results)
            assert len(broker.events.calls("login")) == 1


class TestRefusedToken:
    """A token that Vault no longer accepts."""

    async def test_one_login_for_all(self, vault_server: VaultServer, ref: CredentialRef, role: str) -> None:
        """Twenty calls with a token that was revoked cost one login, and all succeed."""
        async with broker_with(approle_config(vault_server, role)) as broker:
            await broker.store.fetch(ref)
            before = len(vault_server.requests(LOGIN))
            for accessor in vault_server.tokens_of(role):
                vault_server.revoke_accessor(accessor)
            credentials = await asyncio.gather(*(broker.store.fetch(ref) for _ in range(20)))
            assert {credential.ref for credential in credentials} == {ref}
            assert len(vault_server.requests(LOGIN)) - before == 1

    async def test_static_token(self, vault_server: VaultServer, ref: CredentialRef) -> None:
        """If a token given by value is revoked, the error names its setting."""
        token = vault_server.token(vault_server.reader_policy())
        async with broker_with(token_config(vault_server, token)) as broker:
            await broker.store.fetch(ref)
            vault_server.revoke(token)
            with pytest.raises(CredentialStoreError, match="BROKER_VAULT_TOKEN"):
                await broker.store.fetch(ref)

    async def test_a_caller_that_goes_away(self, vault_server: VaultServer, ref: CredentialRef, role: str) -> None:
        """A cancelled call does not take the login from the others that wait for it."""
        async with broker_with(approle_config(vault_server, role)) as broker:
            fetches = [asyncio.create_task(broker.store.fetch(ref)) for _ in range(5)]
            await asyncio.sleep(0)
            fetches[0].cancel()
            results = await asyncio.gather(*fetches, return_exceptions=True)
            assert isinstance(results[0], asyncio.CancelledError)
            assert not [result for result in results[1:] if isinstance(result, BaseException)]
            assert broker.events.calls("login") == ["ok"]


class TestPolicy:
    """Operations that Vault's policy forbids."""

    async def test_no_new_login(self, vault_server: VaultServer, ref: CredentialRef, role: str) -> None:
        """A path that the policy forbids triggers no login, and the error says that the policy forbids it."""
        role_id, secret_id = vault_server.approle(role, "default")
        config = VaultConfig(addr=vault_server.addr, auth="approle", role_id=role_id, secret_id=secret_id)
        async with broker_with(config) as broker:
            for _ in range(3):
                with pytest.raises(CredentialStoreError, match="policy does not allow the broker to read"):
                    await broker.store.fetch(ref)
            with pytest.raises(CredentialStoreError, match="policy"):
                await broker.store.refs()
            assert broker.events.calls("login") == ["ok"]

    async def test_org_that_may_not_be_listed(self, vault_server: VaultServer, ref: CredentialRef) -> None:
        """If the policy denies one org, the whole listing is an error of the store, as documented in the port."""
        folder = f"{MOUNT}/metadata/{PREFIX}"
        vault_server.policy("top-only", (folder, "list"))
        async with broker_with(token_config(vault_server, vault_server.token("top-only"))) as broker:
            with pytest.raises(CredentialStoreError, match="policy"):
                await broker.store.refs()

    async def test_app_that_may_not_be_read(self, vault_server: VaultServer, ref: CredentialRef) -> None:
        """A policy that lets the broker read an org but not its app is named, with the folder that it must allow."""
        policy = f"reader-{next(_numbers)}"
        data = f"{MOUNT}/data/{PREFIX}"
        vault_server.policy(policy, (f"{data}/*", "read"), (f"{data}/_apps/*", "deny"))
        vault_server.put("_apps", policy, app_document())
        vault_server.put(ref.org, ref.name, app_org_document(ref, policy))
        async with broker_with(token_config(vault_server, vault_server.token(policy))) as broker:
            with pytest.raises(CredentialStoreError, match="does not let the broker read below `_apps`"):
                await broker.store.fetch(ref)

    async def test_wrong_mount(self, vault_server: VaultServer, ref: CredentialRef) -> None:
        """A mount that does not exist is a broken store, not a missing credential."""
        async with broker_with(token_config(vault_server, vault_server.root_token)) as broker:
            store = VaultCredentialStore(broker.session, "nowhere", PREFIX, ALLOWED)
            with pytest.raises(CredentialStoreError, match="Vault has nothing mounted at that path"):
                await store.fetch(ref)


class TestVersions:
    """Versions of a document in KV v2."""

    async def test_generation(self, vault_server: VaultServer, ref: CredentialRef) -> None:
        """The generation is the document's version in Vault."""
        async with broker_with(token_config(vault_server, vault_server.root_token)) as broker:
            assert (await broker.store.fetch(ref)).generation == "1"
            vault_server.put(ref.org, ref.name, oauth_document(ref))
            assert (await broker.store.fetch(ref)).generation == "2"

    async def test_deleted(self, vault_server: VaultServer, ref: CredentialRef) -> None:
        """A deleted or destroyed version is not found."""
        async with broker_with(token_config(vault_server, vault_server.root_token)) as broker:
            vault_server.delete(ref.org, ref.name)
            with pytest.raises(CredentialNotFoundError):
                await broker.store.fetch(ref)
            vault_server.put(ref.org, ref.name, oauth_document(ref))
            vault_server.destroy(ref.org, ref.name, 2)
            with pytest.raises(CredentialNotFoundError):
                await broker.store.fetch(ref)
            assert set(broker.events.calls("read")) == {"credential_not_found"}

    async def test_foreign_names(self, vault_server: VaultServer, ref: CredentialRef) -> None:
        """The listing skips paths that are not an org or a credential name."""
        vault_server.put("not-an-org", "default", {})
        vault_server.put(ref.org, "bad name", {})
        vault_server.put(ref.org, "folder/below", {})
        async with broker_with(token_config(vault_server, vault_server.root_token)) as broker:
            listed = await broker.store.refs()
            assert [each for each in listed if each.org == ref.org] == [ref]
            assert "not-an-org" not in {each.org for each in listed}


class TestSeal:
    """A Vault that is sealed while the broker runs."""

    async def test_sealed(self, vault_server: VaultServer, ref: CredentialRef, role: str) -> None:
        """The error for a sealed Vault says so; once it is unsealed, calls succeed without a new login."""
        async with broker_with(approle_config(vault_server, role)) as broker:
            await broker.store.fetch(ref)
            vault_server.seal()
            try:
                with pytest.raises(CredentialStoreError, match="sealed"):
                    await broker.store.fetch(ref)
            finally:
                vault_server.unseal()
            assert (await broker.store.fetch(ref)).ref == ref
            assert broker.events.calls("login") == ["ok"]
