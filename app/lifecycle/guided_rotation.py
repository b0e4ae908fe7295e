"""Rotates a client secret where a person adds and deletes secrets in the Adobe Developer Console."""

from __future__ import annotations

from app.domain.secret_owner import SecretOwner
from app.domain.secret_rotation_state import RotationError
from app.lifecycle.canary import Canary
from app.lifecycle.owned_secrets import open_secrets
from app.lifecycle.stored_secrets import secrets_of, with_secrets
from app.ports import DocumentStore

_IN_USE = (
    "This secret is the one that the document has now. Add a second secret in the Adobe Developer Console, and give"
    " that one with --new-secret-file. Nothing was changed."
)

_STORED_ALREADY = (
    "The document has this secret already, next to another one. When Adobe's console shows that no one uses the second"
    " one any more, run the command with --finish. Nothing was changed."
)

_NOTHING_TO_FINISH = (
    "The document has one secret, so there is nothing to finish. Delete no secret at Adobe because of this: begin with"
    " --new-secret-file, or, if this rotation was finished before, delete the secret that is not in the document."
)


class GuidedRotation:
    """The two halves of a rotation by hand: before and after the person deletes the old secret.

    Args:
        documents: The documents.
        canary: Makes real exchanges.

    """

    def __init__(self, documents: DocumentStore, canary: Canary) -> None:
        self._documents = documents
        self._canary = canary

    async def add(self, owner: SecretOwner, secret: str) -> None:
        """Prove a new secret, and write it in front of the one that is in use.

        Raises:
            RotationError: The document has this secret already or refers to an app, or the app cannot be proven.
            TenantError: IMS refuses the new secret; nothing was written.
            DependencyError: The credential store or IMS does not answer.

        """
        secrets = await open_secrets(self._documents, self._canary, owner)
        stored = await secrets.read()
        if secret in secrets_of(stored):
            raise RotationError(_STORED_ALREADY if len(secrets_of(stored)) > 1 else _IN_USE)
        await self._canary.present(secrets.parsed(with_secrets(stored, [secret])))
        old = await self._canary.accepted(secrets.parsed(stored.content))
        await secrets.write(with_secrets(stored, [secret, old.credential.client_secrets[old.number]]), stored)

    async def finish(self, owner: SecretOwner) -> None:
        """Prove the first secret, and write it alone.

        Raises:
            RotationError: The document has one secret only or refers to an app, or the app cannot be proven.
            TenantError: IMS refuses the first secret; nothing was written.
            DependencyError: The credential store or IMS does not answer.

        """
        secrets = await open_secrets(self._documents, self._canary, owner)
        stored = await secrets.read()
        if len(secrets_of(stored)) < 2:
            raise RotationError(_NOTHING_TO_FINISH)
        content = with_secrets(stored, list(secrets_of(stored)[:1]))
        await self._canary.prove(secrets.parsed(content))
        await secrets.write(content, stored)
