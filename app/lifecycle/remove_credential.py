"""Removes a credential from the store: only the version that was looked at."""

from __future__ import annotations

from app.domain.dependency_errors import CredentialStoreError
from app.domain.names import CredentialRef
from app.domain.stored_document import (
    DocumentPath,
    Version,
    certificate_rotation_path,
    credential_path,
    migration_path,
    rotation_path,
)
from app.domain.tenant_errors import CredentialNotFoundError
from app.ports import DocumentStore


async def stored_version(documents: DocumentStore, ref: CredentialRef) -> Version:
    """The version of a credential that can be removed.

    Raises:
        CredentialNotFoundError: Nothing is stored for it.
        CredentialStoreError: The store cannot be read.

    """
    stored = await documents.read(credential_path(ref))
    if stored is None:
        raise CredentialNotFoundError
    return stored.version


async def remove_credential(documents: DocumentStore, ref: CredentialRef, version: Version, *, destroy: bool) -> None:
    """Remove a credential, and what a rotation or migration of it has left behind.

    Args:
        documents: The store.
        ref: The credential.
        version: The version that was looked at.
        destroy: Also destroy all older versions, where the store keeps any.

    Raises:
        DocumentChangedError: It is another version by now. Nothing was removed.
        CredentialStoreError: The store cannot be changed.

    """
    await _remove(documents, credential_path(ref), version, destroy=destroy)
    for path in (rotation_path(ref), certificate_rotation_path(ref), migration_path(ref)):
        left = await documents.read(path)
        if left is not None:
            await _remove(documents, path, left.version, destroy=destroy)


async def _remove(documents: DocumentStore, path: DocumentPath, version: Version, *, destroy: bool) -> None:
    try:
        await documents.remove(path, version, destroy=destroy)
    except CredentialStoreError:
        # A store that did not answer may have removed it.
        if await documents.read(path) is not None:
            raise
