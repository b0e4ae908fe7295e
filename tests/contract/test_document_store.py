"""What every document store does: the directory, and a real Vault with KV version 2 and 1."""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.adapters.directory import DirectoryDocuments
from app.adapters.vault import VaultConfig, VaultDocuments, VaultSession
from app.domain.dependency_errors import CredentialStoreError
from app.domain.stored_document import (
    DocumentChangedError,
    DocumentPath,
    StoredDocument,
    Version,
    credential_path,
    rotation_path,
)
from app.ports import DocumentStore
from tests.support.documents import CANARY, oauth_document, ref_of
from tests.support.recorded_events import RecordedEvents
from tests.support.vault_server import MOUNT, PREFIX, VaultServer

_numbers = itertools.count(0xD0000)

EDITOR = (
    (f"{MOUNT}/data/{PREFIX}/*", "create,read,update,delete"),
    (f"{MOUNT}/metadata/{PREFIX}/*", "read,list,delete"),
)
"""What a command needs that changes credentials (docs/least-privilege.md)."""


@pytest.fixture(params=["directory", "kv2", "kv1"])
async def documents(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[DocumentStore]:
    """Each kind of store in turn."""
    if request.param == "directory":
        directory = DirectoryDocuments(tmp_path)
        yield directory
        await directory.aclose()
        return
    server: VaultServer = request.getfixturevalue("vault_server")
    server.policy("editor", *EDITOR, ("kv1-documents/*", "create,read,update,delete"))
    session = VaultSession(VaultConfig(addr=server.addr, token=server.token("editor")), RecordedEvents())
    if request.param == "kv1":
        if "kv1-documents/" not in server.read("sys/mounts")["data"]:
            server.write("sys/mounts/kv1-documents", type="kv", options={"version": "1"})
        yield VaultDocuments(session, "kv1-documents", PREFIX, 1)
    else:
        yield VaultDocuments(session, MOUNT, PREFIX)
    await session.aclose()


@pytest.fixture
def path() -> DocumentPath:
    """A path that no other test uses, because all tests share one Vault."""
    return credential_path(ref_of(next(_numbers)))


OLD = oauth_document(ref_of(0))
NEW = oauth_document(ref_of(0), client_secrets=[f"{CANARY}-new"])


class TestDocumentStore:
    """The contract."""

    async def test_nothing_is_stored_at_first(self, documents: DocumentStore, path: DocumentPath) -> None:
        """A path without a document is None, not an error."""
        assert await documents.read(path) is None

    async def test_what_was_written_is_read(self, documents: DocumentStore, path: DocumentPath) -> None:
        """A document is read as it was written, in the version that the write gave."""
        version = await documents.write(path, OLD, None)
        stored = await documents.read(path)
        assert stored is not None
        assert (dict(stored.content), stored.version) == (OLD, version)
        assert CANARY not in repr(stored)

    async def test_a_change_needs_the_version_that_was_read(self, documents: DocumentStore, path: DocumentPath) -> None:
        """A document that changed since it was read is not overwritten."""
        first = await documents.write(path, OLD, None)
        await documents.write(path, NEW, first)
        with pytest.raises(DocumentChangedError):
            await documents.write(path, OLD, first)
        stored = await documents.read(path)
        assert stored is not None
        assert dict(stored.content) == NEW

    async def test_a_new_document_never_overwrites(self, documents: DocumentStore, path: DocumentPath) -> None:
        """A document that was expected to be new does not take the place of one that is there."""
        await documents.write(path, OLD, None)
        with pytest.raises(DocumentChangedError):
            await documents.write(path, NEW, None)
        stored = await documents.read(path)
        assert stored is not None
        assert dict(stored.content) == OLD

    async def test_a_version_that_is_gone_is_not_written_over(
        self, documents: DocumentStore, path: DocumentPath
    ) -> None:
        """A change of a document that was removed meanwhile is refused."""
        first = await documents.write(path, OLD, None)
        await documents.remove(path, first)
        with pytest.raises(DocumentChangedError):
            await documents.remove(path, first)

    @pytest.mark.parametrize("destroy", [False, True])
    async def test_a_removed_document_can_be_written_again(
        self, documents: DocumentStore, path: DocumentPath, destroy: bool
    ) -> None:
        """After a removal nothing is read, and a new document can be written."""
        await documents.remove(path, await documents.write(path, OLD, None), destroy=destroy)
        assert await documents.read(path) is None
        await documents.write(path, NEW, None)
        stored = await documents.read(path)
        assert stored is not None
        assert dict(stored.content) == NEW

    async def test_only_the_version_that_was_read_is_removed(
        self, documents: DocumentStore, path: DocumentPath
    ) -> None:
        """A document that changed since it was read is not removed."""
        first = await documents.write(path, OLD, None)
        await documents.write(path, NEW, first)
        with pytest.raises(DocumentChangedError):
            await documents.remove(path, first)
        assert await documents.read(path) is not None

    async def test_state_of_a_rotation_is_apart(self, documents: DocumentStore) -> None:
        """What a rotation keeps is stored at another path than the credential."""
        ref = ref_of(next(_numbers))
        await documents.write(rotation_path(ref), {"step": 1}, None)
        assert await documents.read(credential_path(ref)) is None

    async def test_of_many_writers_one_wins(
        self, documents: DocumentStore, path: DocumentPath, request: pytest.FixtureRequest
    ) -> None:
        """Of concurrent changes of the same version exactly one is made. KV version 1 cannot promise it."""
        first = await documents.write(path, OLD, None)
        changes = [{**NEW, "sandbox": f"s{number}"} for number in range(8)]
        results = await asyncio.gather(
            *(documents.write(path, change, first) for change in changes), return_exceptions=True
        )
        won = [change for change, result in zip(changes, results, strict=True) if isinstance(result, str)]
        assert len(won) == 1 or ("kv1" in request.node.name and won)
        assert sum(isinstance(result, DocumentChangedError) for result in results) == len(changes) - len(won)
        stored = await documents.read(path)
        assert stored is not None
        assert dict(stored.content) in won


class TestVault:
    """What only Vault has."""

    async def test_a_login_that_may_only_read_is_refused(self, vault_server: VaultServer, path: DocumentPath) -> None:
        """The broker's own login cannot change anything, and the error says which permissions are missing."""
        token = vault_server.token(vault_server.reader_policy())
        session = VaultSession(VaultConfig(addr=vault_server.addr, token=token), RecordedEvents())
        with pytest.raises(CredentialStoreError, match="does not allow this login to change credentials"):
            await VaultDocuments(session, MOUNT, PREFIX).write(path, OLD, None)
        await session.aclose()


class TestDirectory:
    """What only files have."""

    @pytest.fixture
    async def files(self, tmp_path: Path) -> AsyncIterator[DirectoryDocuments]:
        """The store of an empty folder."""
        store = DirectoryDocuments(tmp_path)
        yield store
        await store.aclose()

    async def test_a_new_file_is_for_its_owner_alone(
        self, files: DirectoryDocuments, path: DocumentPath, tmp_path: Path
    ) -> None:
        """A new file has mode 0600, in a folder of mode 0700."""
        await files.write(path, OLD, None)
        file = tmp_path.joinpath(*path.parts).with_suffix(".json")
        assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)

    async def test_no_folder_on_the_way_can_be_listed_by_others(
        self, files: DirectoryDocuments, tmp_path: Path
    ) -> None:
        """Each folder that is made for a file has mode 0700, not only the last one."""
        path = rotation_path(ref_of(1))
        await files.write(path, OLD, None)
        folders = [tmp_path.joinpath(*path.parts[:depth]) for depth in range(1, len(path.parts))]
        assert len(folders) > 1
        assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o700}

    async def test_a_replaced_file_keeps_its_mode(
        self, files: DirectoryDocuments, path: DocumentPath, tmp_path: Path
    ) -> None:
        """A file that another user's broker may read stays readable for it."""
        version = await files.write(path, OLD, None)
        file = tmp_path.joinpath(*path.parts).with_suffix(".json")
        file.chmod(0o640)
        await files.write(path, NEW, version)
        assert file.stat().st_mode & 0o777 == 0o640
        assert list(file.parent.iterdir()) == [file]

    async def test_a_mounted_secret_is_not_changed(
        self, files: DirectoryDocuments, path: DocumentPath, tmp_path: Path
    ) -> None:
        """A symbolic link, as Kubernetes mounts Secrets, is refused and stays."""
        file = tmp_path.joinpath(*path.parts).with_suffix(".json")
        file.parent.mkdir()
        (tmp_path / "source").write_text(json.dumps(OLD))
        file.symlink_to(tmp_path / "source")
        stored = await files.read(path)
        assert stored is not None
        with pytest.raises(CredentialStoreError, match="symbolic link"):
            await files.write(path, NEW, stored.version)
        assert file.is_symlink()

    async def test_a_folder_that_stays_locked_is_named(self, path: DocumentPath, tmp_path: Path) -> None:
        """A change waits for another command only so long, says so, and is not made later."""
        store = DirectoryDocuments(tmp_path, lock_seconds=0.05)
        version = await store.write(path, OLD, None)
        other = os.open(tmp_path.joinpath(*path.parts[:-1]), os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(CredentialStoreError, match="Another command is changing this org"):
            await store.write(path, NEW, version)
        with pytest.raises(CredentialStoreError, match="Another command is changing this org"):
            await store.remove(path, version)
        os.close(other)
        assert await store.read(path) == StoredDocument(OLD, version)
        await store.write(path, NEW, version)
        await store.aclose()

    async def test_a_missing_directory_is_named(self, path: DocumentPath, tmp_path: Path) -> None:
        """The directory of the setting is never created: a misspelt one is an error."""
        store = DirectoryDocuments(tmp_path / "missing")
        with pytest.raises(CredentialStoreError, match="BROKER_CREDENTIAL_DIR"):
            await store.write(path, OLD, None)
        with pytest.raises(DocumentChangedError):
            await store.remove(path, Version("0"))
        await store.aclose()
