"""KV version 1, and settings of mount, prefix and version that do not fit a real Vault."""

from __future__ import annotations

import itertools
import logging

import pytest

from app.adapters.vault import VaultCredentialStore
from app.domain.dependency_errors import CredentialStoreError
from app.domain.names import CredentialRef
from app.domain.tenant_errors import CredentialMisconfiguredError, CredentialNotFoundError
from tests.support.documents import ALLOWED, oauth_document, ref_of
from tests.support.manual_time import ManualTime
from tests.support.vault_broker import broker_with, token_config
from tests.support.vault_server import MOUNT, PREFIX, VaultServer

_numbers = itertools.count(0xB0000)


@pytest.fixture
def ref(vault_server: VaultServer) -> CredentialRef:
    """A credential in KV version 2 that no other test uses."""
    ref = ref_of(next(_numbers))
    vault_server.put(ref.org, ref.name, oauth_document(ref))
    return ref


@pytest.fixture
def kv1(vault_server: VaultServer, ref: CredentialRef) -> str:
    """The mount of a new engine of version 1 that has the credential, too."""
    mount = f"kv.{next(_numbers)}"
    vault_server.write(f"sys/mounts/{mount}", type="kv", options={"version": "1"})
    vault_server.write(f"{mount}/{PREFIX}/{ref.org}/{ref.name}", **oauth_document(ref))
    return mount


def reader(server: VaultServer, *paths: str) -> str:
    """A token that may only read and list these paths."""
    policy = f"reader-{next(_numbers)}"
    server.policy(policy, *((path, "read,list") for path in paths))
    return server.token(policy, no_default_policy=True)


class TestVersion1:
    """Documents in an engine of version 1."""

    async def test_read_and_list(self, vault_server: VaultServer, ref: CredentialRef, kv1: str) -> None:
        """A credential is read and listed with a policy for the paths of version 1."""
        token = reader(vault_server, f"{kv1}/{PREFIX}", f"{kv1}/{PREFIX}/*")
        async with broker_with(token_config(vault_server, token)) as broker:
            store = VaultCredentialStore(broker.session, kv1, PREFIX, ALLOWED, kv_version=1)
            assert (await store.fetch(ref)).ref == ref
            assert await store.refs() == (ref,)

    async def test_generation(self, vault_server: VaultServer, ref: CredentialRef, kv1: str) -> None:
        """The generation changes with the document, and only with it."""
        async with broker_with(token_config(vault_server, vault_server.root_token)) as broker:
            store = VaultCredentialStore(broker.session, kv1, PREFIX, ALLOWED, kv_version=1)
            first = (await store.fetch(ref)).generation
            assert (await store.fetch(ref)).generation == first
            changed = {**oauth_document(ref), "client_secrets": ["p8e-another-secret"]}
            vault_server.write(f"{kv1}/{PREFIX}/{ref.org}/{ref.name}", **changed)
            assert (await store.fetch(ref)).generation != first

    async def test_absent(self, vault_server: VaultServer, kv1: str) -> None:
        """A document that is not there is not found."""
        async with broker_with(token_config(vault_server, vault_server.root_token)) as broker:
            store = VaultCredentialStore(broker.session, kv1, PREFIX, ALLOWED, kv_version=1)
            with pytest.raises(CredentialNotFoundError):
                await store.fetch(ref_of(next(_numbers)))

    async def test_large(self, vault_server: VaultServer, ref: CredentialRef, kv1: str) -> None:
        """A document that is too large is refused, as in version 2."""
        vault_server.write(f"{kv1}/{PREFIX}/{ref.org}/{ref.name}", filling="x" * 300_000)
        async with broker_with(token_config(vault_server, vault_server.root_token)) as broker:
            store = VaultCredentialStore(broker.session, kv1, PREFIX, ALLOWED, kv_version=1)
            with pytest.raises(CredentialMisconfiguredError, match="at most"):
                await store.fetch(ref)


async def complaints(store: VaultCredentialStore, ref: CredentialRef) -> set[str]:
    """What reading a credential and listing all of them say."""
    with pytest.raises(CredentialStoreError) as unread:
        await store.fetch(ref)
    with pytest.raises(CredentialStoreError) as unlisted:
        await store.refs()
    return {unread.value.detail, unlisted.value.detail}


class TestWrongSettings:
    """Settings with which Vault finds nothing: Vault itself only answers 404 or 403."""

    @pytest.mark.parametrize(
        ("mount", "prefix", "version", "sentence"),
        [
            ("secret/data", PREFIX, 2, "leave out `data`"),
            ("/secret/data/", PREFIX, 2, "leave out `data`"),
            ("secret/team", PREFIX, 2, "longer than the mount"),
            (MOUNT, f"data/{PREFIX}", 2, "BROKER_VAULT_PREFIX begins with `data`"),
            (MOUNT, PREFIX, 1, "set BROKER_VAULT_KV_VERSION=2"),
            (f"{MOUNT}/data", PREFIX, 1, "BROKER_VAULT_MOUNT is longer than the mount; leave out `data`"),
            ("cubbyhole", PREFIX, 2, "another secrets engine"),
        ],
    )
    async def test_version_2(
        self, vault_server: VaultServer, ref: CredentialRef, mount: str, prefix: str, version: int, sentence: str
    ) -> None:
        """A read and a listing both name the wrong setting, instead of a missing credential and an empty list."""
        async with broker_with(token_config(vault_server, vault_server.root_token)) as broker:
            (said,) = await complaints(VaultCredentialStore(broker.session, mount, prefix, ALLOWED, version), ref)
        assert sentence in said

    @pytest.mark.parametrize("paths", [("{kv1}/*",), ("{kv1}/data/*", "{kv1}/metadata/*")])
    async def test_version_1(
        self, vault_server: VaultServer, ref: CredentialRef, kv1: str, paths: tuple[str, ...]
    ) -> None:
        """An engine of version 1 is noticed, whether the policy has the paths of version 1 (403) or of 2 (404)."""
        token = reader(vault_server, *(path.format(kv1=kv1) for path in paths))
        async with broker_with(token_config(vault_server, token)) as broker:
            (said,) = await complaints(VaultCredentialStore(broker.session, kv1, PREFIX, ALLOWED), ref)
        assert said == "BROKER_VAULT_MOUNT is KV version 1; set BROKER_VAULT_KV_VERSION=1."

    async def test_once(
        self, vault_server: VaultServer, ref: CredentialRef, kv1: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is logged once, and Vault is asked about it once a minute, however many calls find nothing."""
        time = ManualTime()
        async with broker_with(token_config(vault_server, vault_server.root_token)) as broker:
            store = VaultCredentialStore(broker.session, kv1, PREFIX, ALLOWED, monotonic=time.now)
            with caplog.at_level(logging.WARNING):
                for _ in range(3):
                    await complaints(store, ref)
                assert len(broker.events.calls("mount")) == 1
                time.advance(61)
                await complaints(store, ref)
            assert len(broker.events.calls("mount")) == 2
        assert [record.getMessage() for record in caplog.records] == [
            "No credential can be found: BROKER_VAULT_MOUNT is KV version 1; set BROKER_VAULT_KV_VERSION=1."
        ]


class TestRightSettings:
    """Settings that are right although they look odd, and credentials that are only missing."""

    async def test_missing(self, vault_server: VaultServer, ref: CredentialRef) -> None:
        """A missing credential is not found, before and after another one is read; then Vault is not asked again."""
        async with broker_with(token_config(vault_server, vault_server.token(vault_server.reader_policy()))) as broker:
            for _ in range(2):
                with pytest.raises(CredentialNotFoundError):
                    await broker.store.fetch(ref_of(next(_numbers)))
            assert broker.events.calls("mount") == ["ok"]
            await broker.store.fetch(ref)

    async def test_folder_with_the_name_data(self, vault_server: VaultServer, ref: CredentialRef) -> None:
        """A folder of that name may hold the credentials."""
        vault_server.write(f"{MOUNT}/data/data/{PREFIX}/{ref.org}/{ref.name}", data=oauth_document(ref))
        async with broker_with(token_config(vault_server, vault_server.root_token)) as broker:
            store = VaultCredentialStore(broker.session, MOUNT, f"data/{PREFIX}", ALLOWED)
            with pytest.raises(CredentialNotFoundError):
                await store.fetch(ref_of(next(_numbers)))
            assert (await store.fetch(ref)).ref == ref

    async def test_empty(self, vault_server: VaultServer) -> None:
        """A right engine in which nothing is stored yet is an empty list."""
        mount = f"kv/{next(_numbers)}/data"
        vault_server.write(f"sys/mounts/{mount}", type="kv", options={"version": "2"})
        async with broker_with(token_config(vault_server, vault_server.root_token)) as broker:
            assert await VaultCredentialStore(broker.session, mount, PREFIX, ALLOWED).refs() == ()

    async def test_policy(self, vault_server: VaultServer, ref: CredentialRef) -> None:
        """A path that the policy forbids is still reported as that."""
        async with broker_with(token_config(vault_server, reader(vault_server, "cubbyhole/*"))) as broker:
            for said in await complaints(broker.store, ref):
                assert "policy does not allow" in said
