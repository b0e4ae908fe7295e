"""The credential directory: what is read, what is ignored, and how defects and broken files are reported."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import traceback
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.adapters.directory import DirectoryCredentialStore
from app.domain.credential_document import MAX_DOCUMENT_BYTES
from app.domain.dependency_errors import CredentialStoreError
from app.domain.names import CredentialRef
from app.domain.tenant_errors import CredentialMisconfiguredError, CredentialNotFoundError
from tests.support.documents import ALLOWED, CANARY, oauth_document, ref_of

REF = ref_of(1)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DirectoryCredentialStore]:
    """A store over an empty directory."""
    store = DirectoryCredentialStore(tmp_path, ALLOWED)
    yield store
    await store.aclose()


def put(directory: Path, ref: CredentialRef, content: bytes | None = None) -> Path:
    """Write the file of `ref`: a valid document, or `content`."""
    path = directory / ref.org / f"{ref.name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(json.dumps(oauth_document(ref)).encode() if content is None else content)
    return path


class TestGeneration:
    """The generation identifies a version of a file."""

    async def test_the_generation_is_a_digest(self, store: DirectoryCredentialStore, tmp_path: Path) -> None:
        """The generation is the first 12 hex digits of the file's SHA-256."""
        content = put(tmp_path, REF).read_bytes()
        assert (await store.fetch(REF)).generation == hashlib.sha256(content).hexdigest()[:12]

    async def test_a_changed_file_has_a_new_generation(self, store: DirectoryCredentialStore, tmp_path: Path) -> None:
        """A rewritten file has a new generation at the next read."""
        put(tmp_path, REF)
        before = await store.fetch(REF)
        put(tmp_path, REF, json.dumps(oauth_document(REF, client_id="other")).encode())
        after = await store.fetch(REF)
        assert (after.client_id, after.generation != before.generation) == ("other", True)


class TestMountedSecrets:
    """Files in the form in which Kubernetes and editors write them."""

    async def test_a_mounted_secret_is_read(self, store: DirectoryCredentialStore, tmp_path: Path) -> None:
        """The layout of a mounted Secret is read, both before and after its atomic replacement."""
        for version in ("..1", "..2"):
            (tmp_path / version).mkdir()
            put(tmp_path / version, REF, json.dumps(oauth_document(REF, client_id=f"v{version[-1]}")).encode())
        (tmp_path / "..data").symlink_to("..1")
        (tmp_path / REF.org).symlink_to(f"..data/{REF.org}")
        assert (await store.fetch(REF)).client_id == "v1"
        (tmp_path / "..new").symlink_to("..2")
        (tmp_path / "..new").rename(tmp_path / "..data")
        assert (await store.fetch(REF)).client_id == "v2"
        assert await store.refs() == (REF,)

    async def test_a_byte_order_mark_is_ignored(self, store: DirectoryCredentialStore, tmp_path: Path) -> None:
        """A byte order mark before the document is ignored."""
        put(tmp_path, REF, b"\xef\xbb\xbf" + json.dumps(oauth_document(REF)).encode())
        assert (await store.fetch(REF)).ref == REF


async def test_other_files_are_not_listed(store: DirectoryCredentialStore, tmp_path: Path) -> None:
    """Files and folders with other names are not credentials."""
    for ref in (REF, ref_of(1, "second"), ref_of(2)):
        put(tmp_path, ref)
    (tmp_path / "README.md").write_text("")
    (tmp_path / ref_of(3).org).write_text("")
    (tmp_path / "not-an-org").mkdir()
    for name in (".hidden.json", "a.json.bak", "default.txt", "bad name.json"):
        (tmp_path / REF.org / name).write_text("{}")
    (tmp_path / REF.org / "folder.json").mkdir()
    assert await store.refs() == (REF, ref_of(1, "second"), ref_of(2))


class TestFileDefects:
    """Files that do not contain a valid document."""

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"{",
            f'"{CANARY}'.encode(),
            f'{{"sandbox": "{CANARY}", "sandbox": "b"}}'.encode(),
            f'{{"sandbox": NaN, "x": "{CANARY}"}}'.encode(),
            b"[" * 100_000,
            f'{{"client_id": "{CANARY}\xff"}}'.encode("latin-1"),
            b'{"x": ' + b"9" * 10_000 + b"}",
            b" " * (MAX_DOCUMENT_BYTES + 1),
            b"[]",
        ],
        ids=["empty", "cut", "cut-string", "twice", "nan", "deep", "not-utf-8", "huge-number", "large", "array"],
    )
    async def test_an_invalid_document_is_misconfigured(
        self, store: DirectoryCredentialStore, tmp_path: Path, content: bytes
    ) -> None:
        """A file that is not a strict JSON object is a misconfigured document; the error does not show its content."""
        put(tmp_path, REF, content)
        with pytest.raises(CredentialMisconfiguredError) as caught:
            await store.fetch(REF)
        assert caught.value.field == "document"
        assert CANARY not in "".join(traceback.format_exception(caught.value, limit=0))

    async def test_what_is_not_json_is_named(self, store: DirectoryCredentialStore, tmp_path: Path) -> None:
        """The sentence says that the document is not JSON."""
        put(tmp_path, REF, b"{")
        with pytest.raises(CredentialMisconfiguredError, match="document: must be JSON text in UTF-8"):
            await store.fetch(REF)

    async def test_the_largest_document_is_read(self, store: DirectoryCredentialStore, tmp_path: Path) -> None:
        """A document of exactly the largest size is read."""
        put(tmp_path, REF, json.dumps(oauth_document(REF)).encode().ljust(MAX_DOCUMENT_BYTES))
        assert (await store.fetch(REF)).ref == REF

    async def test_a_named_pipe_is_refused(self, store: DirectoryCredentialStore, tmp_path: Path) -> None:
        """A named pipe is refused at once, because reading it would block forever."""
        path = put(tmp_path, REF)
        path.unlink()
        os.mkfifo(path)
        async with asyncio.timeout(2):
            with pytest.raises(CredentialMisconfiguredError):
                await store.fetch(REF)


class TestBrokenDirectory:
    """A directory that cannot be used."""

    async def test_a_missing_directory_is_a_broken_store(self, tmp_path: Path) -> None:
        """A directory that does not exist is a broken store, not a missing credential."""
        store = DirectoryCredentialStore(tmp_path / "none", ALLOWED)
        with pytest.raises(CredentialStoreError):
            await store.fetch(REF)
        with pytest.raises(CredentialStoreError):
            await store.refs()
        await store.aclose()

    async def test_an_unreadable_file_is_a_broken_store(self, store: DirectoryCredentialStore, tmp_path: Path) -> None:
        """A file that cannot be opened is a broken store; here a link to itself, because root can read all files."""
        path = put(tmp_path, REF)
        path.unlink()
        path.symlink_to(path)
        with pytest.raises(CredentialStoreError):
            await store.fetch(REF)

    async def test_a_file_in_place_of_an_org_has_no_credential(
        self, store: DirectoryCredentialStore, tmp_path: Path
    ) -> None:
        """If an org's folder is a file, it has no credential."""
        (tmp_path / REF.org).write_text("")
        with pytest.raises(CredentialNotFoundError):
            await store.fetch(REF)

    async def test_a_closed_store_answers_with_an_error(self, store: DirectoryCredentialStore) -> None:
        """A closed store raises an error with a status."""
        await store.aclose()
        with pytest.raises(CredentialStoreError):
            await store.fetch(REF)
