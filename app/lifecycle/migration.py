"""Changes a credential from one kind to another in place, as Adobe's move from JWT to OAuth Server-to-Server needs.

Both documents are proven by a real exchange and their tokens are compared before the new one is written. The old
document is kept at another path, so that one command goes back. A token from before
the change is served to its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from app.domain.dependency_errors import DependencyError
from app.domain.document_changes import FieldChange, document_changes
from app.domain.errors import BrokerError
from app.domain.import_file import ImportInput
from app.domain.import_options import with_kept_fields
from app.domain.names import CredentialRef
from app.domain.stored_document import StoredDocument, Version, credential_path, migration_path
from app.domain.tenant_errors import CredentialNotFoundError, CredentialRejectedError
from app.domain.token_comparison import Difference, compare_tokens
from app.lifecycle.canary import Canary
from app.lifecycle.file_defects import defects_of_file
from app.lifecycle.replace import replace
from app.ports import DocumentStore

WATCH_PAUSE = 10.0
"""Seconds between two exchanges of a migration that is watched."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a migration would change.

    Args:
        ref: The credential.
        before: The kind of the stored document.
        after: The kind of the candidate.
        differences: Between the two tokens; an empty one means that callers will not see the change.
        changes: Of the fields of the document, without values.

    """

    ref: CredentialRef
    before: str
    after: str
    differences: tuple[Difference, ...]
    changes: tuple[FieldChange, ...] = ()

    @property
    def loses(self) -> bool:
        """Whether a caller may miss something that it has now."""
        return any(difference.is_loss for difference in self.differences)


class MigrationError(BrokerError):
    """A migration cannot be made; the detail says why and what to do. Nothing was written.

    Args:
        detail: Why.
        comparison: What it would have changed; None if that is not the reason.

    """

    code = "migration_refused"

    def __init__(self, detail: str, comparison: Comparison | None = None) -> None:
        super().__init__(detail)
        self.comparison = comparison


class Migration:
    """Compares, switches and goes back.

    Args:
        documents: The documents.
        canary: Makes real exchanges.

    """

    def __init__(self, documents: DocumentStore, canary: Canary) -> None:
        self._documents = documents
        self._canary = canary

    async def compare(self, given: ImportInput) -> Comparison:
        """Mint a token with the stored document and one with that of a file, and compare tokens and documents.

        Raises:
            ImportFileError: The file is defective.
            MigrationError: One of the two documents names an app.
            TenantError: One of the two documents does not work.
            DependencyError: The credential store, the signer or IMS does not answer.

        """
        stored = await self._stored_client(given)
        return await self._compared(given, stored, _candidate(given, stored))

    async def switch(self, given: ImportInput, *, accept_loss: bool = False) -> Comparison:
        """Compare, keep the stored document, write that of the file, and prove what is stored then.

        The new document keeps what no file of Adobe can have, as an import does.

        Raises:
            ImportFileError: As `compare`.
            MigrationError: As `compare`; or the new token lacks something that the old one has, and this is not
                accepted.
            DocumentChangedError: The document was changed meanwhile. Nothing was written.
            TenantError: As `compare`. If what was written does not work, the old document is back.
            DependencyError: As `compare`.

        """
        ref, stored = given.ref, await self._stored_client(given)
        candidate = _candidate(given, stored)
        if dict(stored.content) == candidate:
            return Comparison(ref, str(stored.content.get("kind")), str(candidate.get("kind")), ())
        comparison = await self._compared(given, stored, candidate)
        if comparison.loses and not accept_loss:
            raise MigrationError(
                "The token of the new document lacks something that the current one has; nothing was written.",
                comparison,
            )
        await self._keep(ref, stored)
        written = await replace(self._documents, credential_path(ref), candidate, stored.version)
        try:
            await self._canary.prove(self._canary.parsed(ref, candidate))
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
        kept = await self._documents.read(migration_path(ref))
        if kept is None:
            raise MigrationError("There is no document from before a migration for this credential.")
        stored = await self._read(ref)
        # One of two old secrets may be gone by now; the broker gets along with the other.
        after = await self._canary.accepted(self._canary.parsed(ref, kept.content))
        await replace(self._documents, credential_path(ref), kept.content, stored.version)
        await self._documents.remove(migration_path(ref), kept.version, destroy=True)
        return Comparison(ref, str(stored.content.get("kind")), str(after.credential.kind), ())

    async def watch(
        self, ref: CredentialRef, seconds: float, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """Exchange what is stored again and again, and go back if IMS refuses it.

        Args:
            ref: The credential.
            seconds: For how long.
            sleep: Waits for some seconds.

        Raises:
            CredentialRejectedError: IMS refused it. The document from before is back.
            TenantError: Someone else changed the document, and it does not work. Nothing was written.
            DependencyError: The credential store, the signer or IMS did not answer at the end. Nothing was written.

        """
        waited, unanswered = 0.0, None
        while waited < seconds:
            pause = min(WATCH_PAUSE, seconds - waited)
            await sleep(pause)
            waited += pause
            unanswered = await self._unanswered(ref)
        if unanswered is not None:
            raise unanswered

    async def _unanswered(self, ref: CredentialRef) -> DependencyError | None:
        """An outage during an exchange, which says nothing about the credential; None if a token was issued."""
        stored = await self._read(ref)
        try:
            await self._canary.accepted(self._canary.parsed(ref, stored.content))
        except DependencyError as error:
            return error
        except CredentialRejectedError:
            await self.go_back(ref)
            raise
        return None

    async def _compared(
        self, given: ImportInput, stored: StoredDocument, candidate: Mapping[str, object]
    ) -> Comparison:
        ref = given.ref
        with defects_of_file(given):
            after = (await self._canary.prove(self._canary.parsed(ref, candidate)))[0]
        before = await self._canary.accepted(self._canary.parsed(ref, stored.content))
        differences = compare_tokens(before.token, after.token)
        changes = document_changes(stored.content, candidate)
        return Comparison(ref, str(before.credential.kind), str(after.credential.kind), differences, changes)

    async def _stored_client(self, given: ImportInput) -> StoredDocument:
        """The stored document, if both have a client of their own."""
        stored = await self._read(given.ref)
        if "app" in given.document:
            raise MigrationError("The file names an app: use `org import --app`, which replaces what is stored.")
        if "app" in stored.content:
            raise MigrationError(
                "This credential uses the client of its app, and an app has one kind only. To give the org a client of"
                " its own, use `org import` with its file, which replaces what is stored."
            )
        return stored

    async def _keep(self, ref: CredentialRef, stored: StoredDocument) -> None:
        path = migration_path(ref)
        kept = await self._documents.read(path)
        version: Version | None = None if kept is None else kept.version
        if kept is None or dict(kept.content) != dict(stored.content):
            await replace(self._documents, path, stored.content, version)

    async def _read(self, ref: CredentialRef) -> StoredDocument:
        stored = await self._documents.read(credential_path(ref))
        if stored is None:
            raise CredentialNotFoundError
        return stored


def _candidate(given: ImportInput, stored: StoredDocument) -> dict[str, object]:
    return given.document if given.whole else with_kept_fields(given.document, stored.content)
