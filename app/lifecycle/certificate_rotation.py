"""Replaces the key and the certificate of a JWT credential: at Adobe both are valid until the new one is in use.

The order of steps, each written down before the next begins, so that the next run finishes what was killed:

1. ``prepared``: the new pair is kept in the credential store, at another path. A person uploads its certificate to
   Adobe, which accepts the old one, too. An exchange with the new key, for which nothing is written, shows when.
2. ``written``: the document has the new pair, and an exchange through the document proves it. If IMS refuses what it
   accepted before, the old pair is written again.
3. The state is removed after the outcome was reported, so that a report that was lost is made again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as changed

from app.domain.certificate_check import CertificateFacts, certificate_findings
from app.domain.certificate_rotation_state import (
    CertificateRotationState,
    CertificateStep,
    SigningPair,
    signing_fields,
    with_signing,
)
from app.domain.errors import BrokerError
from app.domain.names import CredentialRef
from app.domain.pem import PemError, certificate_pem
from app.domain.secret_rotation_state import RotationError
from app.domain.signing import StoredKey
from app.domain.stored_document import (
    DocumentChangedError,
    StoredDocument,
    Version,
    certificate_rotation_path,
    credential_path,
)
from app.domain.tenant_errors import CredentialNotFoundError, CredentialRejectedError
from app.lifecycle.canary import Canary
from app.lifecycle.replace import replace
from app.ports import CertificateReader, Clock, CredentialStore, DocumentStore

_UNKNOWN_TO_ADOBE = frozenset({"invalid_token", "invalid_signature"})
"""What IMS answers if no certificate that it has belongs to the key (docs/ims.md sections 1.5 and 1.6)."""


@dataclass(frozen=True, slots=True)
class AwaitingUpload:
    """IMS does not accept the new key yet. The document is as it was.

    Args:
        ref: The credential.
        certificate: The new certificate in PEM form, to be uploaded.
        new: What the new certificate says.
        reason: The answer of IMS.

    """

    ref: CredentialRef
    certificate: str
    new: CertificateFacts
    reason: str


@dataclass(frozen=True, slots=True)
class CertificateReplaced:
    """The new pair is in use, and proven through the document.

    Args:
        ref: The credential.
        new: What the new certificate says.
        old: What the old one says; None if the document did not have it.
        at: Unix time in seconds of the proof.

    """

    ref: CredentialRef
    new: CertificateFacts
    old: CertificateFacts | None
    at: float


class CertificateRotation:
    """Replaces the key and the certificate of one credential.

    Args:
        documents: The documents.
        store: Reads credentials, as the broker does.
        canary: Makes real exchanges.
        facts: Reads a certificate.
        clock: Unix time in seconds.
        heard: Gets each step that is done, as one word.

    """

    def __init__(
        self,
        documents: DocumentStore,
        store: CredentialStore,
        canary: Canary,
        facts: CertificateReader,
        clock: Clock,
        heard: Callable[[str], None] = lambda _step: None,
    ) -> None:
        self._documents = documents
        self._store = store
        self._canary = canary
        self._facts = facts
        self._clock = clock
        self._heard = heard

    async def advance(
        self, ref: CredentialRef, make: Callable[[], SigningPair], given: SigningPair | None = None
    ) -> AwaitingUpload | CertificateReplaced:
        """Begin or continue, as far as it goes without a person.

        Args:
            ref: The credential.
            make: Makes a new pair, for a rotation that begins without one.
            given: The pair that the operator wants.

        Raises:
            RotationError: It cannot begin or go on. The document has a pair that works.
            DocumentChangedError: Someone else changed the document, or works on the same credential.
            TenantError: The credential does not work, for another reason than its certificate.
            DependencyError: The credential store or IMS does not answer.

        """
        kept = await self._documents.read(certificate_rotation_path(ref))
        if kept is None:
            state, version = await self._begin(ref, given or make())
        else:
            state, version = CertificateRotationState.parsed(kept.content), kept.version
            if given is not None and given != state.new:
                raise RotationError(
                    "A rotation to another certificate has begun"
                    f" (SHA-1 {self._facts(state.new.certificate).sha1}). Run the command without --private-key to"
                    " finish it, or with --discard to forget it."
                )
        if state.step is CertificateStep.PREPARED:
            reached = await self._switch(ref, state, version)
            if isinstance(reached, AwaitingUpload):
                return reached
            state = reached
        return await self._prove(ref, state)

    async def finish(self, ref: CredentialRef) -> None:
        """Forget the state of a rotation whose outcome was reported, with all its versions: they hold the keys."""
        kept = await self._documents.read(certificate_rotation_path(ref))
        if kept is not None:
            await self._documents.remove(certificate_rotation_path(ref), kept.version, destroy=True)

    async def discard(self, ref: CredentialRef) -> None:
        """Forget a rotation whose new pair is not in the document.

        Raises:
            RotationError: There is none, or the document has the new pair already.
            DependencyError: The credential store does not answer.

        """
        kept = await self._documents.read(certificate_rotation_path(ref))
        if kept is None:
            raise RotationError("No certificate rotation is in progress for this credential.")
        stored = await self._documents.read(credential_path(ref))
        state = CertificateRotationState.parsed(kept.content)
        if stored is not None and _has(stored, state.new):
            raise RotationError("The document has the new key already. Run the command without --discard to finish.")
        await self._documents.remove(certificate_rotation_path(ref), kept.version, destroy=True)

    async def _begin(self, ref: CredentialRef, pair: SigningPair) -> tuple[CertificateRotationState, Version]:
        """Keep the new pair, so that it is not lost while a person uploads its certificate."""
        stored = await self._read(ref)
        if "app" in stored.content:
            raise RotationError(
                "This credential uses the client of its app, which has a client secret and no certificate: rotate the"
                " secret with `secret rotate --app` and the app's name."
            )
        if not isinstance(self._canary.parsed(ref, stored.content).signing, StoredKey):
            raise RotationError(
                "This credential has no private key in its document, so there is no pair to replace. Client secrets"
                " are replaced by `secret rotate`, and a key of a remote signer there."
            )
        if _has(stored, pair):
            raise RotationError("The document has this key already.")
        self._usable(pair)
        self._canary.parsed(ref, with_signing(stored.content, pair.fields()))
        state = CertificateRotationState(CertificateStep.PREPARED, pair, signing_fields(stored.content))
        version = await replace(self._documents, certificate_rotation_path(ref), state.document(), None)
        self._heard(state.step)
        return state, version

    async def _switch(
        self, ref: CredentialRef, state: CertificateRotationState, version: Version
    ) -> AwaitingUpload | CertificateRotationState:
        """Prove the new pair, and write it; or say that Adobe does not know its certificate."""
        stored = await self._read(ref)
        if not _has(stored, state.new):
            facts = self._usable(state.new)
            content = with_signing(stored.content, state.new.fields())
            try:
                await self._canary.accepted(self._canary.parsed(ref, content))
            except CredentialRejectedError as error:
                if error.secret_refused or error.ims_error not in _UNKNOWN_TO_ADOBE:
                    raise
                return AwaitingUpload(ref, state.new.certificate, facts, error.detail)
            self._heard("accepted")
            if signing_fields(stored.content) != state.old:
                state = changed(state, old=signing_fields(stored.content))
                version = await replace(self._documents, certificate_rotation_path(ref), state.document(), version)
            await replace(self._documents, credential_path(ref), content, stored.version)
        written = state.at(CertificateStep.WRITTEN)
        await replace(self._documents, certificate_rotation_path(ref), written.document(), version)
        self._heard(written.step)
        return written

    async def _prove(self, ref: CredentialRef, state: CertificateRotationState) -> CertificateReplaced:
        """Exchange what the broker reads now; if IMS refuses it, write the old pair again."""
        stored = await self._read(ref)
        if not _has(stored, state.new):
            raise RotationError(
                "The document was changed during the rotation: it does not have the new key any more. Compare it with"
                " Adobe's console, then discard the rotation with --discard."
            )
        try:
            await self._canary.accepted(await self._store.fetch(ref))
        except CredentialRejectedError as error:
            if error.secret_refused or error.ims_error not in _UNKNOWN_TO_ADOBE:
                raise
            await self._go_back(ref, state, stored, error)
        self._heard("proven")
        new = self._facts(state.new.certificate)
        return CertificateReplaced(ref, new, self._old_facts(state), self._clock())

    async def _go_back(
        self,
        ref: CredentialRef,
        state: CertificateRotationState,
        stored: StoredDocument,
        error: CredentialRejectedError,
    ) -> None:
        """Write the old pair again, if IMS accepts it.

        Raises:
            RotationError: It is written.
            CredentialRejectedError: IMS refuses both, so the new one stays.

        """
        content = with_signing(stored.content, state.old)
        try:
            await self._canary.accepted(self._canary.parsed(ref, content))
        except CredentialRejectedError:
            raise error from None
        kept = await self._documents.read(certificate_rotation_path(ref))
        if kept is None:
            raise DocumentChangedError
        # First the state: a document with the new pair continues from `prepared`, one with the old from `written` not.
        prepared = state.at(CertificateStep.PREPARED)
        await replace(self._documents, certificate_rotation_path(ref), prepared.document(), kept.version)
        await replace(self._documents, credential_path(ref), content, stored.version)
        raise RotationError(
            "IMS refuses the new key, which it accepted before, so the old pair is in the document again. Check that"
            f" the new certificate is still in Adobe's console, and run the command again. {error.detail}"
        )

    def _usable(self, pair: SigningPair) -> CertificateFacts:
        """What the new certificate says.

        Raises:
            RotationError: Adobe or the broker would refuse it.

        """
        facts = self._facts(pair.certificate)
        for finding in certificate_findings(facts, self._clock()):
            if finding.is_error:
                raise RotationError(
                    f"The new certificate cannot be used. {finding.detail} If it is the one of a rotation that has"
                    " begun, forget that with --discard."
                )
        return facts

    def _old_facts(self, state: CertificateRotationState) -> CertificateFacts | None:
        try:
            return self._facts(certificate_pem(state.old.get("certificate")))
        except (PemError, BrokerError):
            return None

    async def _read(self, ref: CredentialRef) -> StoredDocument:
        stored = await self._documents.read(credential_path(ref))
        if stored is None:
            raise CredentialNotFoundError
        return stored


def _has(stored: StoredDocument, pair: SigningPair) -> bool:
    """Whether the document has this pair."""
    return signing_fields(stored.content) == pair.fields()
