"""The app whose client an org uses, while the org is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.domain.adobe_import import ImportFileError
from app.domain.app_document import CLIENT_FIELDS, StoredApp, app_of, app_path, stored_app
from app.domain.document_changes import FieldChange, document_changes
from app.domain.import_file import ImportInput
from app.lifecycle.replace import replace
from app.ports import DocumentStore

_NEW = "new"
"""The version of a document that is not stored yet."""


@dataclass(frozen=True, slots=True)
class AppInUse:
    """An app, and whether it is still to be stored.

    Args:
        app: Its document.
        new: What the import stores; None if it is stored already.

    """

    app: StoredApp
    new: Mapping[str, object] | None = field(repr=False, default=None)

    @property
    def changes(self) -> tuple[FieldChange, ...]:
        """What is stored of it; empty if it is stored already."""
        found = document_changes({}, self.new or {})
        return tuple(FieldChange(f"app.{change.field}", change.before, change.after) for change in found)


class AppImport:
    """Finds the app that a document names, or makes it.

    Args:
        documents: Reads and changes documents.

    """

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents

    async def find(self, given: ImportInput) -> AppInUse | None:
        """The app of a document; None if it names none.

        Raises:
            ImportFileError: There is no such app and the file has no client for it, or it has another client.
            CredentialMisconfiguredError: The name is malformed, or what is stored is not a document.
            CredentialStoreError: The store cannot be read.

        """
        name = app_of(given.document)
        if name is None:
            return None
        stored = await self._documents.read(app_path(name))
        if stored is None:
            if given.client is None:
                raise ImportFileError(
                    f"names the app {name}, which is not stored yet; import a file with its client id and secret first"
                )
            return AppInUse(stored_app(name, given.client, _NEW), given.client)
        if given.client is not None and document_changes(_client_of(stored.content), _client_of(given.client)):
            raise ImportFileError(
                f"has another client or other secrets than the app {name} that is stored; choose another name for --app"
            )
        return AppInUse(stored_app(name, stored.content, stored.version))

    async def store(self, found: AppInUse | None) -> None:
        """Store a new app. Another import may store the same one at the same time.

        Raises:
            DocumentChangedError: Another one was stored under that name meanwhile.
            CredentialStoreError: The store cannot be written.

        """
        if found is not None and found.new is not None:
            await replace(self._documents, app_path(found.app.name), found.new, None)


def _client_of(content: Mapping[str, object]) -> dict[str, object]:
    """The fields that say which client it is, without those that only a rotation needs."""
    return {name: value for name, value in content.items() if name in CLIENT_FIELDS}
