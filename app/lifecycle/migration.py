"""Changes a credential from one kind to another in place, as Adobe's move from JWT to OAuth Server-to-Server needs.

Both documents are proven by a real exchange and their tokens are compared before the new one is written. The old
document is kept at another path, so that one command goes back. A token from before
the change is served to its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.domain.errors import BrokerError
from app.domain.names import CredentialRef
from app.domain.stored_document import DocumentPath, StoredDocument, Version, credential_path
from app.domain.tenant_errors import CredentialNotFoundError
from app.domain.token_comparison import Difference, compare_tokens
from app.lifecycle.canary import Canary, Proof
from app.lifecycle.replace import replace
from app.ports import DocumentStore


class MigrationError(BrokerError):
    """A migration cannot be made; the detail says why and what to do. Nothing was written."""

    code = "migration_refused"


def kept_path(ref: CredentialRef) -> DocumentPath:
    """Where the document from before the migration is kept. It is not a credential, and never listed."""
    return DocumentPath(("_migrations", ref.org, ref.name))


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a migration would change.

    Args:
        ref: The credential.
        before: The kind of the stored document.
        after: The kind of the candidate.
        differences: Between the two tokens; an empty one means that callers will not see the change.

    """

    ref: CredentialRef
    before: str
    after: str
    differences: tuple[Difference, ...]

    @property
    def loses(self) -> bool:
        """Whether a caller may miss something that it has now."""
        return any(difference.is_loss for difference in self.differences)


class Migration:
    """Compares, switches and goes back.

    Args:
        documents: The documents.
        canary: Makes real exchanges.

    """

    def __init__(self, documents: DocumentStore, canary: Canary) -> None:
        self._documents = documents
        self._canary = canary

    async def compare(self, ref: CredentialRef, candidate: Mapping[str, object]) -> Comparison:
        """Mint a token with the stored document and one with the candidate, and compare them.

        Raises:
            TenantError: One of the two documents does not work.
            DependencyError: The credential store, the signer or IMS does not answer.

        """
        stored = await self._read(ref)
        return await self._compared(ref, stored, candidate)

    async def switch(
        self, ref: CredentialRef, candidate: Mapping[str, object], *, accept_loss: bool = False
    ) -> Comparison:
        """Compare, keep the stored document, write the candidate, and prove what is stored then.

        Raises:
            MigrationError: The new token lacks something that the old one has, and this is not accepted.
            DocumentChangedError: The document was changed meanwhile. Nothing was written.
            TenantError: As `compare`. If what was written does not work, the old document is back.
            DependencyError: As `compare`.

        """
        stored = await self._read(ref)
        if dict(stored.content) == dict(candidate):
            return Comparison(ref, str(stored.content.get("kind")), str(candidate.get("kind")), ())
        comparison = await self._compared(ref, stored, candidate)
        if comparison.loses and not accept_loss:
            raise MigrationError(
                "The token of the new document lacks something that the present one has; nothing was written."
            )
        await self._keep(ref, stored)
        written = await replace(self._documents, credential_path(ref), candidate, stored.version)
        try:
            await self._canary.prove(ref, candidate)
        except BrokerError:
            await replace(self._documents, credential_path(ref), stored.content, written)
            raise
        return comparison

    async def go_back(self, ref: CredentialRef) -> Comparison:
        """Write the document from before the migration again, if it still works.

        Raises:
            MigrationError: Nothing is kept.
            DocumentChangedError: The document was changed meanwhile. Nothing was written.
            TenantError: The kept document does not work any more. Nothing was written.
            DependencyError: The credential store, the signer or IMS does not answer.

        """
        kept = await self._documents.read(kept_path(ref))
        if kept is None:
            raise MigrationError("No document from before a migration is kept for this credential.")
        stored = await self._read(ref)
        after = (await self._canary.prove(ref, kept.content))[0]
        await replace(self._documents, credential_path(ref), kept.content, stored.version)
        await self._documents.remove(kept_path(ref), kept.version, destroy=True)
        return Comparison(ref, str(stored.content.get("kind")), str(after.credential.kind), ())

    async def prove(self, ref: CredentialRef) -> Proof:
        """An exchange with what is stored; raises as `compare`."""
        stored = await self._read(ref)
        return (await self._canary.prove(ref, stored.content))[0]

    async def _compared(
        self, ref: CredentialRef, stored: StoredDocument, candidate: Mapping[str, object]
    ) -> Comparison:
        after = (await self._canary.prove(ref, candidate))[0]
        before = await self._canary.accepted(self._canary.parsed(ref, stored.content))
        differences = compare_tokens(before.token, after.token)
        return Comparison(ref, str(before.credential.kind), str(after.credential.kind), differences)

    async def _keep(self, ref: CredentialRef, stored: StoredDocument) -> None:
        path = kept_path(ref)
        kept = await self._documents.read(path)
        version: Version | None = None if kept is None else kept.version
        if kept is None or dict(kept.content) != dict(stored.content):
            await replace(self._documents, path, stored.content, version)

    async def _read(self, ref: CredentialRef) -> StoredDocument:
        stored = await self._documents.read(credential_path(ref))
        if stored is None:
            raise CredentialNotFoundError
        return stored
