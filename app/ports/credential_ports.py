"""Ports on the way to a new token: where credentials live, who signs, who exchanges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from app.domain.credential import Credential
from app.domain.grant import Grant, IssuedToken
from app.domain.names import CredentialRef
from app.domain.stored_document import DocumentPath, StoredDocument, Version


class CredentialStore(Protocol):
    """Where tenants' credentials live. An outage: no new exchange; tokens already minted are served to their end."""

    async def fetch(self, ref: CredentialRef, *, recent_app: bool = False) -> Credential:
        """Read the current version of a credential.

        Args:
            ref: The credential.
            recent_app: Whether the document of its app may be up to 2 s old. Then many orgs of one app cost few reads.

        Raises:
            CredentialNotFoundError: Nothing is stored there.
            CredentialMisconfiguredError: The document is defective, or that of its app.
            CredentialStoreError: The store cannot be read.

        """
        ...

    async def refs(self) -> tuple[CredentialRef, ...]:
        """All credentials stored, sorted.

        Raises:
            CredentialStoreError: The store cannot be read, or does not let the broker list.

        """
        ...


class DocumentStore(Protocol):
    """The documents of the credential store, for commands that change them. The broker itself never writes."""

    async def read(self, path: DocumentPath) -> StoredDocument | None:
        """The newest version of a document; None if nothing is stored there.

        Raises:
            CredentialMisconfiguredError: What is stored is not a JSON object, or is too large.
            CredentialStoreError: The store cannot be read.

        """
        ...

    async def write(self, path: DocumentPath, content: Mapping[str, object], expected: Version | None) -> Version:
        """Write a document if its version is still `expected`; its new version.

        Args:
            path: The path below the prefix.
            content: The document, a JSON object.
            expected: The version that was read; None if nothing was there.

        Raises:
            DocumentChangedError: It is another version by now. Nothing was written.
            CredentialStoreError: The store cannot be written. If it did not answer, the document may be written.

        """
        ...

    async def remove(self, path: DocumentPath, expected: Version, *, destroy: bool = False) -> None:
        """Remove a document if its version is still `expected`.

        Args:
            path: The path below the prefix.
            expected: The version that was read.
            destroy: Also destroy all older versions, where the store keeps any. Otherwise the removal can be undone.

        Raises:
            DocumentChangedError: It is another version by now. Nothing was removed.
            CredentialStoreError: As `write`.

        """
        ...


class AssertionSigner(Protocol):
    """Signs assertions. An outage (of a remote signer) means the same as one of the credential store."""

    async def sign(self, credential: Credential, claims: Mapping[str, object]) -> str:
        """Sign `claims` with RS256 as a compact JWS.

        Raises:
            CredentialMisconfiguredError: The key cannot be used; the detail names the field.
            CredentialStoreError: The remote signer does not answer.

        """
        ...


class RemoteKeys(Protocol):
    """The keys of a remote signer, for commands that move a key there. The broker itself only signs with them."""

    async def import_key(self, name: str, private_key_pem: str, passphrase: str | None = None) -> None:
        """Move a private key there; it cannot be read again. Repeating it with the same key changes nothing.

        Args:
            name: The name that the key gets.
            private_key_pem: PEM, PKCS#8 or PKCS#1.
            passphrase: The passphrase that decrypts it, or None.

        Raises:
            CredentialMisconfiguredError: The key cannot be used there, or `name` is that of another key.
            CredentialStoreError: The signer is unusable, or denies this login to import.

        """
        ...

    async def public_key(self, name: str) -> bytes:
        """The public half of the key that signs for `name`, as `CertificateFacts.belongs_to` takes it.

        Args:
            name: The name, in the form that a credential has it.

        Returns:
            SubjectPublicKeyInfo, DER.

        Raises:
            CredentialMisconfiguredError: There is no such key, or it is not an RSA key.
            CredentialStoreError: The signer is unusable, or denies this login to read.

        """
        ...


class TokenExchanger(Protocol):
    """IMS. An outage: no new exchange; tokens already minted are served to their end."""

    async def exchange(self, grant: Grant) -> IssuedToken:
        """Present a grant.

        Raises:
            CredentialRejectedError: IMS refused it; permanent for this generation.
            BadUpstreamResponseError: The answer is not a token we may trust.
            ImsUnavailableError: No answer, or a transient failure with its delay.

        """
        ...
