"""An importer into a directory, over an IMS that issues tokens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from app.adapters.certificates import certificate_facts
from app.adapters.directory import DirectoryCredentialStore, DirectoryDocuments
from app.domain.errors import BrokerError
from app.domain.import_file import ImportInput
from app.domain.key_move import KeyToMove
from app.domain.stored_document import DocumentPath, StoredDocument, Version, credential_path
from app.lifecycle.canary import Canary
from app.lifecycle.import_credential import Importer, PreparedImport
from app.lifecycle.move_key import KeyMover
from app.ports import CredentialStore, RemoteKeys
from app.service.present import Presenter
from tests.fakes import FakeExchanger, FakeSigner, ManualClock
from tests.support.documents import ALLOWED, ref_of

REF = ref_of(1)
PATH = credential_path(REF)


def given(document: Mapping[str, object], *, whole: bool = False, key: KeyToMove | None = None) -> ImportInput:
    """What is imported."""
    return ImportInput("a file", REF, dict(document), whole, key=key)


class WatchedDocuments:
    """A directory whose writes are counted; a test can fail them after they took place."""

    def __init__(self, inner: DirectoryDocuments) -> None:
        self.inner = inner
        self.writes = 0
        self.failure: BrokerError | None = None
        self.read_failure: BrokerError | None = None

    async def read(self, path: DocumentPath) -> StoredDocument | None:
        """As `DocumentStore.read`."""
        if self.read_failure is not None:
            raise self.read_failure
        return await self.inner.read(path)

    async def write(self, path: DocumentPath, content: Mapping[str, object], expected: Version | None) -> Version:
        """As `DocumentStore.write`."""
        self.writes += 1
        version = await self.inner.write(path, content, expected)
        if self.failure is not None:
            raise self.failure
        return version

    async def remove(self, path: DocumentPath, expected: Version, *, destroy: bool = False) -> None:
        """As `DocumentStore.remove`."""
        await self.inner.remove(path, expected, destroy=destroy)


class ImportBench:
    """An importer into a directory, with an IMS that issues tokens."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.exchanger = FakeExchanger(self.clock)
        self.documents = WatchedDocuments(DirectoryDocuments(folder))
        self.store = DirectoryCredentialStore(folder, ALLOWED)
        canary = Canary(Presenter({"stored": FakeSigner()}, self.exchanger, self.clock), ALLOWED)
        self.canary = canary
        self.importer = self.importer_with(self.store)

    def importer_with(self, store: CredentialStore, keys: RemoteKeys | None = None) -> Importer:
        """An importer that reads back from `store`, and moves keys to `keys`."""
        return Importer(self.documents, store, self.canary, KeyMover(keys), certificate_facts, self.clock)

    async def prepare(self, document: Mapping[str, object]) -> PreparedImport:
        """Prepare the import of a file of Adobe."""
        return await self.importer.prepare(given(document))

    async def run(self, document: Mapping[str, object], *, whole: bool = False) -> Version | None:
        """A whole import; its version, or None if there was nothing to do."""
        prepared = await self.importer.prepare(given(document, whole=whole))
        return await self.importer.apply(prepared) if prepared.changes else None

    async def stored(self) -> Mapping[str, object] | None:
        """What is stored."""
        found = await self.documents.read(PATH)
        return None if found is None else dict(found.content)

    async def aclose(self) -> None:
        """Let the threads end."""
        await self.documents.inner.aclose()
        await self.store.aclose()
