"""Imports a credential: it is proven by real exchanges, then written with check-and-set, then read back.

Nothing is written unless IMS accepts each of its secrets. What was written and cannot be read back is undone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from dataclasses import replace as changed
from enum import StrEnum

from app.domain.adobe_import import ImportFileError
from app.domain.credential import Credential
from app.domain.dependency_errors import CredentialStoreError
from app.domain.document_changes import FieldChange, document_changes
from app.domain.errors import BrokerError
from app.domain.import_options import with_kept_fields
from app.domain.names import CredentialRef
from app.domain.rfc3339 import rfc3339
from app.domain.stored_document import DocumentChangedError, StoredDocument, Version, credential_path
from app.domain.tenant_errors import CredentialMisconfiguredError
from app.lifecycle.canary import Canary, Proof
from app.lifecycle.replace import replace
from app.ports import CertificateEnd, Clock, CredentialStore, DocumentStore


class ImportOutcome(StrEnum):
    """How an import ended."""

    CREATED = "created"
    REPLACED = "replaced"
    UNCHANGED = "unchanged"
    NOT_REPLACED = "not_replaced"
    WOULD_CREATE = "would_create"
    WOULD_REPLACE = "would_replace"
    FAILED = "failed"


WRITES = frozenset({ImportOutcome.CREATED, ImportOutcome.REPLACED})
"""The outcomes of imports that write."""


class NotReadBackError(BrokerError):
    """A document was written, but the broker cannot read it, so it was undone."""

    code = "not_read_back"


@dataclass(frozen=True, slots=True)
class PreparedImport:
    """A document that may be written.

    Args:
        ref: The credential.
        document: The whole document.
        stored: What is stored now; None if nothing is.
        changes: How they differ; empty if there is nothing to do.
        proofs: One exchange for each client secret; none if there is nothing to do.

    """

    ref: CredentialRef
    document: Mapping[str, object] = field(repr=False)
    stored: StoredDocument | None
    changes: tuple[FieldChange, ...]
    proofs: tuple[Proof, ...]

    def planned(self, *, dry_run: bool) -> ImportOutcome:
        """What the import will do, or would do."""
        if not self.changes:
            return ImportOutcome.UNCHANGED
        if self.stored is None:
            return ImportOutcome.WOULD_CREATE if dry_run else ImportOutcome.CREATED
        return ImportOutcome.WOULD_REPLACE if dry_run else ImportOutcome.REPLACED


class Importer:
    """Imports credentials, one at a time or many at once.

    Args:
        documents: Reads and changes documents.
        store: Reads credentials, as the broker does.
        canary: Makes real exchanges.
        certificate_end: When a certificate ends.
        clock: Unix time in seconds.

    """

    def __init__(
        self,
        documents: DocumentStore,
        store: CredentialStore,
        canary: Canary,
        certificate_end: CertificateEnd,
        clock: Clock,
    ) -> None:
        self._documents = documents
        self._store = store
        self._canary = canary
        self._certificate_end = certificate_end
        self._clock = clock

    async def prepare(
        self, ref: CredentialRef, document: Mapping[str, object], *, whole: bool = False
    ) -> PreparedImport:
        """Check `document`, compare it with what is stored, and prove it unless it is stored already.

        Args:
            ref: The credential.
            document: The document.
            whole: Whether `document` is all there is to store. Otherwise the fields that Adobe's files do not have
                are taken from what is stored.

        Raises:
            ImportFileError: The document is defective.
            TenantError: IMS refuses a secret, or what is stored is not a document.
            DependencyError: The store, the signer or IMS does not answer.

        """
        with _named():
            self._checked(ref, document)
        stored = await self._documents.read(credential_path(ref))
        if stored is not None and not whole:
            document = with_kept_fields(document, stored.content)
        changes = document_changes({} if stored is None else stored.content, document)
        with _named():
            proofs = await self._proofs(self._checked(ref, document)) if changes else ()
        return PreparedImport(ref, document, stored, changes, proofs)

    async def apply(self, prepared: PreparedImport) -> Version:
        """Write a prepared document over the version that it was compared with, and read it back.

        Returns:
            Its version.

        Raises:
            DocumentChangedError: It is another version by now. Nothing was written.
            CredentialStoreError: The store cannot be written.
            NotReadBackError: The broker cannot read it. What was stored before is stored again.

        """
        before = None if prepared.stored is None else prepared.stored.version
        path = credential_path(prepared.ref)
        version = await replace(self._documents, path, prepared.document, before)
        try:
            found = await self._store.fetch(prepared.ref)
        except BrokerError as error:
            await self._undo(prepared, version, error)
        else:
            expected = changed(self._canary.parsed(prepared.ref, prepared.document), generation=found.generation)
            if found.generation == version and found != expected:
                await self._undo(prepared, version, None)
        return version

    def _checked(self, ref: CredentialRef, document: Mapping[str, object]) -> Credential:
        credential = self._canary.parsed(ref, document)
        if credential.certificate is not None:
            end = self._certificate_end(credential.certificate)
            if end <= self._clock():
                raise CredentialMisconfiguredError(
                    "certificate",
                    f"has ended on {rfc3339(end)}, so IMS refuses what its key signs; add a new one in the console",
                )
        return credential

    async def _proofs(self, credential: Credential) -> tuple[Proof, ...]:
        return tuple(
            [await self._canary.present(credential, number) for number in range(len(credential.client_secrets))]
        )

    async def _undo(self, prepared: PreparedImport, version: Version, error: BrokerError | None) -> None:
        reason = "it differs from what was written." if error is None else error.detail
        path = credential_path(prepared.ref)
        try:
            if prepared.stored is None:
                await self._documents.remove(path, version)
            else:
                await replace(self._documents, path, prepared.stored.content, version)
        except DocumentChangedError:
            raise NotReadBackError(
                f"The broker cannot read the new document: {reason} Someone else has changed it since."
            ) from None
        except CredentialStoreError as failure:
            raise NotReadBackError(
                f"The broker cannot read the new document: {reason} It could not be undone: {failure.detail}"
            ) from None
        raise NotReadBackError(f"The broker cannot read the new document, so the change was undone: {reason}")


@contextmanager
def _named() -> Iterator[None]:
    """Say of a defect that it is in the file, not in what is stored."""
    try:
        yield
    except CredentialMisconfiguredError as error:
        if error.field == "private_key_passphrase":
            raise ImportFileError(
                f"has an encrypted private key, and its passphrase {error.expected.partition(',')[0]};"
                " give --passphrase-file FILE"
            ) from None
        raise ImportFileError(f"has a defect in {error.field}: {error.expected}") from None
