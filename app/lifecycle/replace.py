"""Writes a document with check-and-set, and knows afterwards whether it is written."""

from __future__ import annotations

from collections.abc import Mapping

from app.domain.dependency_errors import CredentialStoreError
from app.domain.stored_document import DocumentChangedError, DocumentPath, Version
from app.ports import DocumentStore


async def replace(
    store: DocumentStore, path: DocumentPath, content: Mapping[str, object], expected: Version | None
) -> Version:
    """Write `content` if the version of the document is still `expected`; its new version.

    A store that did not answer may have written. So the document is read again before the error is believed.

    Raises:
        DocumentChangedError: It is another version by now. Nothing was written.
        CredentialStoreError: The store cannot be written.

    """
    try:
        return await store.write(path, content, expected)
    except (CredentialStoreError, DocumentChangedError):
        # A repeated attempt whose first one was written sees its own change.
        stored = await store.read(path)
        if stored is None or stored.version == expected or dict(stored.content) != dict(content):
            raise
        return stored.version
