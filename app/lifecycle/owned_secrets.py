"""The document that has client secrets, read, proven and written as the broker will use it."""

from __future__ import annotations

from collections.abc import Mapping

from app.domain.app_document import app_of, stored_app
from app.domain.credential import Credential
from app.domain.names import CredentialRef
from app.domain.secret_owner import SecretOwner
from app.domain.secret_rotation_state import RotationError
from app.domain.stored_document import StoredDocument, credential_path
from app.domain.tenant_errors import CredentialNotFoundError
from app.lifecycle.canary import Canary
from app.lifecycle.replace import replace
from app.ports import DocumentStore

_CANDIDATE = "candidate"
"""The version of an app's document that is not stored yet."""


class OwnedSecrets:
    """The secrets of one owner. Made by `open_secrets`.

    Args:
        documents: The documents.
        canary: Makes real exchanges.
        owner: Whose secrets they are.
        org_document: The document of the org that proves the secrets of an app; None without an app.

    """

    def __init__(
        self,
        documents: DocumentStore,
        canary: Canary,
        owner: SecretOwner,
        org_document: Mapping[str, object] | None,
    ) -> None:
        self._documents = documents
        self._canary = canary
        self._owner = owner
        self._org_document = org_document

    async def read(self) -> StoredDocument:
        """The document that has the secrets.

        Raises:
            RotationError: There is no such app, or the document names an app.
            CredentialNotFoundError: Nothing is stored for the credential.
            CredentialStoreError: The store cannot be read.

        """
        stored = await self._documents.read(self._owner.document_path)
        if stored is None:
            if self._owner.app is not None:
                raise RotationError(f"No app {self._owner.app} is stored.")
            raise CredentialNotFoundError
        if self._owner.app is None and "app" in stored.content:
            raise RotationError(
                "The secrets of this credential are those of its app: rotate them with --app and the app's name."
            )
        return stored

    def parsed(self, content: Mapping[str, object]) -> Credential:
        """The credential that the broker would read if the document had this content.

        Raises:
            CredentialMisconfiguredError: It is defective.

        """
        if self._owner.app is None or self._org_document is None:
            return self._canary.parsed(self._owner.ref, content)
        app = stored_app(self._owner.app, content, _CANDIDATE)
        return self._canary.parsed(self._owner.ref, self._org_document, app)

    async def write(self, content: Mapping[str, object], stored: StoredDocument) -> None:
        """Write the document, if it is still what was read.

        Raises:
            DocumentChangedError: It is another version by now. Nothing was written.
            CredentialStoreError: The store cannot be written.

        """
        await replace(self._documents, self._owner.document_path, content, stored.version)


async def open_secrets(documents: DocumentStore, canary: Canary, owner: SecretOwner) -> OwnedSecrets:
    """What works on the secrets of `owner`.

    Raises:
        RotationError: The org that proves the secrets of an app does not use the app.
        CredentialStoreError: The store cannot be read.

    """
    if owner.app is None:
        return OwnedSecrets(documents, canary, owner, None)
    stored = await documents.read(credential_path(owner.ref))
    if stored is None or app_of(stored.content) != owner.app:
        raise RotationError(
            f"{_named(owner.ref)} does not use the app {owner.app}; give another org with --prove-with."
        )
    return OwnedSecrets(documents, canary, owner, stored.content)


def _named(ref: CredentialRef) -> str:
    return f"The credential {ref.name} of {ref.org}"
