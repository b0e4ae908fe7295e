"""Rotates a client secret where a person adds and deletes secrets in the Adobe Developer Console."""

from __future__ import annotations

from app.domain.names import CredentialRef
from app.domain.secret_rotation_state import RotationError
from app.domain.stored_document import StoredDocument, credential_path
from app.domain.tenant_errors import CredentialNotFoundError
from app.lifecycle.canary import Canary
from app.lifecycle.replace import replace
from app.lifecycle.stored_secrets import secrets_of, with_secrets
from app.ports import DocumentStore


class GuidedRotation:
    """The two halves of a rotation by hand: before and after the person deletes the old secret.

    Args:
        documents: The documents.
        canary: Makes real exchanges.

    """

    def __init__(self, documents: DocumentStore, canary: Canary) -> None:
        self._documents = documents
        self._canary = canary

    async def add(self, ref: CredentialRef, secret: str) -> None:
        """Prove a new secret, and write it in front of the one that is in use. Nothing changes if it is there already.

        Raises:
            RotationError: The document refers to an app.
            TenantError: IMS refuses the new secret; nothing was written.
            DependencyError: The credential store or IMS does not answer.

        """
        stored = await self._read(ref)
        await self._canary.present(self._canary.parsed(ref, with_secrets(stored, [secret])))
        if secrets_of(stored)[:1] == (secret,):
            return
        old = await self._canary.accepted(self._canary.parsed(ref, stored.content))
        content = with_secrets(stored, [secret, old.credential.client_secrets[old.number]])
        await replace(self._documents, credential_path(ref), content, stored.version)

    async def finish(self, ref: CredentialRef) -> None:
        """Prove the first secret, and write it alone. Nothing changes if it is alone already.

        Raises:
            RotationError: The document refers to an app.
            TenantError: IMS refuses the first secret; nothing was written.
            DependencyError: The credential store or IMS does not answer.

        """
        stored = await self._read(ref)
        content = with_secrets(stored, list(secrets_of(stored)[:1]))
        await self._canary.prove(ref, content)
        if len(secrets_of(stored)) > 1:
            await replace(self._documents, credential_path(ref), content, stored.version)

    async def _read(self, ref: CredentialRef) -> StoredDocument:
        stored = await self._documents.read(credential_path(ref))
        if stored is None:
            raise CredentialNotFoundError
        if "app" in stored.content:
            raise RotationError("The secrets of this credential are those of its app; rotate the app's.")
        return stored
