"""Imports a credential: it is proven by real exchanges, then written with check-and-set, then read back.

Nothing is written unless IMS accepts each of its secrets. What was written and cannot be read back is undone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from dataclasses import replace as changed
from enum import StrEnum

from app.domain.certificate_check import CertificateFacts, CertificateFinding, certificate_findings
from app.domain.credential import Credential
from app.domain.dependency_errors import CredentialStoreError
from app.domain.document_changes import FieldChange, document_changes
from app.domain.errors import BrokerError
from app.domain.import_file import ImportInput
from app.domain.import_options import with_kept_fields
from app.domain.names import CredentialRef
from app.domain.stored_document import DocumentChangedError, StoredDocument, Version, credential_path
from app.domain.tenant_errors import CredentialMisconfiguredError
from app.lifecycle.canary import Canary, Proof
from app.lifecycle.file_defects import defects_of_file
from app.lifecycle.import_app import AppImport, AppInUse
from app.lifecycle.move_key import KeyMover
from app.lifecycle.replace import replace
from app.ports import CertificateReader, Clock, CredentialStore, DocumentStore


class ImportOutcome(StrEnum):
    """How an import ended."""

    CREATED = "created"
    REPLACED = "replaced"
    UNCHANGED = "unchanged"
    NOT_REPLACED = "not_replaced"
    WOULD_CREATE = "would_create"
    WOULD_REPLACE = "would_replace"
    FAILED = "failed"


_REFUSED = frozenset({"expired", "not_yet_valid"})
"""Findings about a certificate with which IMS is not asked: its answer would point to the wrong cause."""

WRITES = frozenset({ImportOutcome.CREATED, ImportOutcome.REPLACED})
"""The outcomes of imports that write."""


class NotReadBackError(BrokerError):
    """A document was written, but the broker cannot read it, so it was undone."""

    code = "not_read_back"


class KeyMovedError(BrokerError):
    """A private key was moved, and then the import failed. Running it again is safe."""

    code = "key_moved"

    def __init__(self, name: str, error: BrokerError) -> None:
        super().__init__(
            f"{error.detail} The private key is in Vault's transit engine as {name} now, and no document was written:"
            " run the command again."
        )


@dataclass(frozen=True, slots=True)
class PreparedImport:
    """A document that may be written.

    Args:
        given: The credential to import.
        document: The whole document.
        stored: What is stored now; None if nothing is.
        changes: How they differ; empty if there is nothing to do.
        proofs: One exchange for each client secret; none if there is nothing to do.
        findings: What a person should know of its certificate.
        app: The app that the document names, or None.

    """

    given: ImportInput
    document: Mapping[str, object] = field(repr=False)
    stored: StoredDocument | None
    changes: tuple[FieldChange, ...]
    proofs: tuple[Proof, ...]
    findings: tuple[CertificateFinding, ...] = ()
    app: AppInUse | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know, such as that the store still has a private key that was moved."""
        notes = (*self.given.notes, *(f"The certificate: {finding.detail}" for finding in self.findings))
        had_key = self.stored is not None and "private_key" in self.stored.content
        if not had_key or "private_key" in self.document:
            return notes
        left = (
            "Older versions of the document still have a private key: destroy them, with `vault kv destroy` in Vault."
        )
        return (*notes, left)

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
        mover: Moves private keys to a remote signer.
        certificate_reader: Reads certificates.
        clock: Unix time in seconds.

    """

    def __init__(
        self,
        documents: DocumentStore,
        store: CredentialStore,
        canary: Canary,
        mover: KeyMover,
        certificate_reader: CertificateReader,
        clock: Clock,
    ) -> None:
        self._documents = documents
        self._apps = AppImport(documents)
        self._store = store
        self._canary = canary
        self._mover = mover
        self._certificate_reader = certificate_reader
        self._clock = clock

    async def prepare(self, given: ImportInput) -> PreparedImport:
        """Check a document, compare it with what is stored, and prove it unless it is stored already.

        A private key that is to be moved signs here until then.

        Raises:
            ImportFileError: The document is defective.
            TenantError: IMS refuses a secret, or what is stored is not a document.
            DependencyError: The store, the signer or IMS does not answer.

        """
        ref, document = given.ref, given.document
        with defects_of_file(given):
            app = await self._apps.find(given)
            findings = self._findings(self._checked(ref, document, app))
        stored = await self._documents.read(credential_path(ref))
        if stored is not None and not given.whole:
            document = with_kept_fields(document, stored.content)
        changes = document_changes({} if stored is None else stored.content, document)
        if app is not None:
            changes += app.changes
        with defects_of_file(given):
            proofs = await self._proofs(given, document, app) if changes else ()
        return PreparedImport(given, document, stored, changes, proofs, findings, app)

    async def apply(self, prepared: PreparedImport) -> Version:
        """Write a prepared document over the version that it was compared with, and read it back.

        Returns:
            Its version.

        Raises:
            ImportFileError: The private key cannot be moved. Nothing was written.
            KeyMovedError: The private key was moved, and cannot be used there. No document was written.
            DocumentChangedError: It is another version by now. Nothing was written.
            CredentialStoreError: The store cannot be written.
            NotReadBackError: The broker cannot read it. What was stored before is stored again.

        """
        await self._move(prepared)
        await self._apps.store(prepared.app)
        before = None if prepared.stored is None else prepared.stored.version
        path = credential_path(prepared.given.ref)
        version = await replace(self._documents, path, prepared.document, before)
        try:
            found = await self._store.fetch(prepared.given.ref)
        except BrokerError as error:
            await self._undo(prepared, version, error)
        else:
            written = self._parsed(prepared.given.ref, prepared.document, prepared.app)
            expected = changed(written, generation=found.generation, app=found.app)
            # With an app, the generation is that of both documents.
            if found.generation.rpartition(".")[2] == version and found != expected:
                await self._undo(prepared, version, None)
        return version

    def _parsed(self, ref: CredentialRef, document: Mapping[str, object], app: AppInUse | None) -> Credential:
        return self._canary.parsed(ref, document, None if app is None else app.app)

    def _checked(self, ref: CredentialRef, document: Mapping[str, object], app: AppInUse | None = None) -> Credential:
        """The credential in `document`, whose certificate is valid now."""
        credential = self._parsed(ref, document, app)
        for finding in self._findings(credential):
            if finding.code in _REFUSED:
                raise CredentialMisconfiguredError("certificate", finding.detail.rstrip("."))
        return credential

    def _findings(self, credential: Credential) -> tuple[CertificateFinding, ...]:
        facts = self._facts(credential)
        return () if facts is None else certificate_findings(facts, self._clock())

    def _facts(self, credential: Credential) -> CertificateFacts | None:
        return None if credential.certificate is None else self._certificate_reader(credential.certificate)

    async def _proofs(
        self, given: ImportInput, document: Mapping[str, object], app: AppInUse | None
    ) -> tuple[Proof, ...]:
        credential = self._checked(given.ref, document, app)
        if given.key is not None:
            self._mover.available()
            credential = self._checked(given.ref, given.key.with_key(document))
        await self._mover.check(credential, self._facts(credential))
        return tuple(
            [await self._canary.present(credential, number) for number in range(len(credential.client_secrets))]
        )

    async def _move(self, prepared: PreparedImport) -> None:
        """Move the private key, if there is one, and prove that it signs there."""
        given = prepared.given
        if given.key is None:
            return
        with defects_of_file(given):
            await self._mover.move(given.key)
        try:
            await self._canary.present(self._canary.parsed(given.ref, prepared.document))
        except BrokerError as error:
            raise KeyMovedError(given.key.name, error) from None

    async def _undo(self, prepared: PreparedImport, version: Version, error: BrokerError | None) -> None:
        reason = "it differs from what was written." if error is None else error.detail
        path = credential_path(prepared.given.ref)
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
