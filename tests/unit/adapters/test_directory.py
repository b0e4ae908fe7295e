"""The credential directory: what is read, what is passed over, and how defects and broken files are told."""

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
from app.domain.errors import CredentialStoreError
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
    """What tells one version of a file from another."""

    async def test_digest(self, store: DirectoryCredentialStore, tmp_path: Path) -> None:
        """The generation is the file's SHA-256 in hex, cut to 12."""
        content = put(tmp_path, REF).read_bytes()
        assert (await store.fetch(REF)).generation == hashlib.sha256(content).hexdigest()[:12]

    async def test_change(self, store: DirectoryCredentialStore, tmp_path: Path) -> None:
        """A file that was rewritten has another generation at the next read."""
        put(tmp_path, REF)
        before = await store.fetch(REF)
        put(tmp_path, REF, json.dumps(oauth_document(REF, client_id="other")).encode())
        after = await store.fetch(REF)
        assert (after.client_id, after.generation != before.generation) == ("other", True)


class TestMountedSecrets:
    """Files as Kubernetes and editors leave them."""

    async def test_symbolic_links(self, store: DirectoryCredentialStore, tmp_path: Path) -> None:
        """The layout of a mounted Secret is read, and so is its atomic replacement."""
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

    async def test_byte_order_mark(self, store: DirectoryCredentialStore, tmp_path: Path) -> None:
        """A byte order mark before the document does no harm."""
        put(tmp_path, REF, b"\xef\xbb\xbf" + json.dumps(oauth_document(REF)).encode())
        assert (await store.fetch(REF)).ref == REF


async def test_refs_pass_over_the_rest(store: DirectoryCredentialStore, tmp_path: Path) -> None:
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


class TestDefects:
    """Files that hold no document."""

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
    async def test_document(self, store: DirectoryCredentialStore, tmp_path: Path, content: bytes) -> None:
        """A file that is no proper JSON object is a misconfigured document, told without its content."""
        put(tmp_path, REF, content)
        with pytest.raises(CredentialMisconfiguredError) as caught:
            await store.fetch(REF)
        assert caught.value.field == "document"
        assert CANARY not in "".join(traceback.format_exception(caught.value, limit=0))

    async def test_largest_document(self, store: DirectoryCredentialStore, tmp_path: Path) -> None:
        """A document of exactly the largest size is read."""
        put(tmp_path, REF, json.dumps(oauth_document(REF)).encode().ljust(MAX_DOCUMENT_BYTES))
        assert (await store.fetch(REF)).ref == REF

    async def test_named_pipe(self, store: DirectoryCredentialStore, tmp_path: Path) -> None:
        """A named pipe is refused at once, although reading it would wait for ever."""
        path = put(tmp_path, REF)
        path.unlink()
        os.mkfifo(path)
        async with asyncio.timeout(2):
            with pytest.raises(CredentialMisconfiguredError):
                await store.fetch(REF)


class TestBrokenDirectory:
    """A directory that cannot be used."""

    async def test_missing(self, tmp_path: Path) -> None:
        """A directory that does not exist is a broken store, not a missing credential."""
        store = DirectoryCredentialStore(tmp_path / "none", ALLOWED)
        with pytest.raises(CredentialStoreError):
            await store.fetch(REF)
        with pytest.raises(CredentialStoreError):
            await store.refs()
        await store.aclose()

    async def test_unreadable(self, store: DirectoryCredentialStore, tmp_path: Path) -> None:
        """A file that cannot be opened, here a link to itself for root may read all, is a broken store."""
        path = put(tmp_path, REF)
        path.unlink()
        path.symlink_to(path)
        with pytest.raises(CredentialStoreError):
            await store.fetch(REF)

    async def test_org_is_a_file(self, store: DirectoryCredentialStore, tmp_path: Path) -> None:
        """A file in an org's place holds no credential."""
        (tmp_path / REF.org).write_text("")
        with pytest.raises(CredentialNotFoundError):
            await store.fetch(REF)

    async def test_closed(self, store: DirectoryCredentialStore) -> None:
        """A store that was closed answers with an error."""
        await store.aclose()
        with pytest.raises(CredentialStoreError):
            await store.fetch(REF)
