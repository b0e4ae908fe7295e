"""Forgets the rotation of a secret that cannot go on, and leaves a document that works."""

from __future__ import annotations

from app.domain.secret_owner import SecretOwner
from app.domain.secret_rotation_state import RotationError, RotationState
from app.domain.stored_document import StoredDocument
from app.domain.tenant_errors import CredentialRejectedError
from app.lifecycle.canary import Canary
from app.lifecycle.owned_secrets import OwnedSecrets, open_secrets
from app.lifecycle.stored_secrets import is_digest_of, secrets_of, with_secrets
from app.ports import DocumentStore


async def discard_rotation(documents: DocumentStore, canary: Canary, owner: SecretOwner) -> None:
    """Forget a rotation whose new secret is not in use. A new secret that IMS refuses is taken out of the document.

    Args:
        documents: The documents.
        canary: Makes real exchanges.
        owner: Whose secret it is.

    Raises:
        RotationError: There is none, or the new secret is in use.
        DocumentChangedError: Someone else changed the document or the state. The rotation is not forgotten.
        TenantError: IMS accepts none of the secrets in the document.
        DependencyError: The credential store or IMS does not answer.

    """
    kept = await documents.read(owner.state_path)
    if kept is None:
        raise RotationError("No rotation of a secret has begun here.")
    secrets = await open_secrets(documents, canary, owner)
    stored = await secrets.read()
    if is_digest_of(_new_digest(kept), secrets_of(stored)[:1]):
        await _take_back(secrets, canary, stored)
    # One of its versions holds the new secret.
    await documents.remove(owner.state_path, kept.version, destroy=True)


async def _take_back(secrets: OwnedSecrets, canary: Canary, stored: StoredDocument) -> None:
    """Write the old secret alone, if IMS refuses the new one.

    Raises:
        RotationError: IMS accepts the new one.

    """
    try:
        await canary.present(secrets.parsed(stored.content))
    except CredentialRejectedError as error:
        if not error.secret_refused:
            raise
    else:
        raise RotationError("The new secret is in use already. Run the command without --discard to finish.")
    old = await canary.accepted(secrets.parsed(stored.content))
    await secrets.write(with_secrets(stored, [old.credential.client_secrets[old.number]]), stored)


def _new_digest(kept: StoredDocument) -> str | None:
    """The digest of the new secret; None if it is not known, as in a state that cannot be understood."""
    try:
        return RotationState.parsed(kept.content).digest
    except RotationError:
        return None
