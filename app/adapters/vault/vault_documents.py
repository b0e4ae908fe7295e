"""The documents below the prefix of a KV secrets engine, for commands that change them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from app.adapters.vault import kv_changes
from app.adapters.vault.kv_engine import KvEngine
from app.adapters.vault.session import VaultSession
from app.adapters.vault.vault_problem import Meaning, VaultProblem
from app.adapters.vault.wire import VaultAdapter
from app.domain.dependency_errors import CredentialStoreError
from app.domain.stored_document import DocumentChangedError, DocumentPath, StoredDocument, Version
from app.domain.tenant_errors import CredentialMisconfiguredError, CredentialNotFoundError

_READ: Meaning = {VaultProblem.ABSENT: CredentialNotFoundError}


def _denied() -> CredentialStoreError:
    return CredentialStoreError(
        "The Vault policy does not allow this login to change credentials there; docs/least-privilege.md has the lines"
        " that commands need."
    )


_CHANGE: Meaning = {VaultProblem.CHANGED: DocumentChangedError, VaultProblem.POLICY: _denied}


class VaultDocuments:
    """The `DocumentStore` of documents in Vault.

    Args:
        session: Logs in and makes the calls.
        mount: Where the KV engine is mounted.
        prefix: The folder below it, without slashes at its ends; may be empty.
        kv_version: The version of the KV engine, 1 or 2.

    """

    def __init__(self, session: VaultSession, mount: str, prefix: str, kv_version: int = 2) -> None:
        self._session = session
        self._engine = KvEngine(mount.strip("/"), kv_version)
        self._prefix = prefix.strip("/")

    async def read(self, path: DocumentPath) -> StoredDocument | None:
        """As `DocumentStore.read`."""
        try:
            work = partial(self._engine.read, self._path(path))
            content, generation = await self._session.call("read", work, _READ)
        except CredentialNotFoundError:
            return None
        if not isinstance(content, Mapping):
            raise CredentialMisconfiguredError("document", "must be a JSON object")
        return StoredDocument(content, Version(generation))

    async def write(self, path: DocumentPath, content: Mapping[str, object], expected: Version | None) -> Version:
        """As `DocumentStore.write`. With KV version 1 the version is compared just before, not in the same step."""

        def work(adapter: VaultAdapter) -> Version:
            return kv_changes.write(self._engine, self._path(path), content, expected, adapter)

        return await self._session.call("write", work, _CHANGE)

    async def remove(self, path: DocumentPath, expected: Version, *, destroy: bool = False) -> None:
        """As `DocumentStore.remove`. The version is compared just before, not in the same step."""

        def work(adapter: VaultAdapter) -> None:
            kv_changes.remove(self._engine, self._path(path), expected, destroy, adapter)

        await self._session.call("remove", work, _CHANGE)

    def _path(self, path: DocumentPath) -> str:
        return "/".join((self._prefix, *path.parts)).lstrip("/")
