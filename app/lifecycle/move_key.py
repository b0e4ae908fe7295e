"""Moves the private key of a credential to a remote signer, where it can sign but cannot be read."""

from __future__ import annotations

from app.domain.certificate_check import CertificateFacts
from app.domain.credential import Credential
from app.domain.key_move import FIELD, TRANSIT, KeyToMove
from app.domain.signing import REMOTE_SCHEMES, RemoteKey
from app.domain.tenant_errors import CredentialMisconfiguredError
from app.ports import RemoteKeys


class KeyMover:
    """Moves keys, and compares those that are there with certificates.

    Args:
        keys: The keys of the remote signer; None if there is no such signer.

    """

    def __init__(self, keys: RemoteKeys | None) -> None:
        self._keys = keys

    async def check(self, credential: Credential, certificate: CertificateFacts | None) -> None:
        """Refuse a credential whose remote key does not belong to its certificate.

        Raises:
            CredentialMisconfiguredError: It does not, or there is no such key.
            CredentialStoreError: The signer is unusable, or denies this login to read.

        """
        key = credential.signing
        if not isinstance(key, RemoteKey) or key.scheme != TRANSIT or certificate is None:
            return
        if not certificate.belongs_to(await self._signer().public_key(key.name)):
            raise CredentialMisconfiguredError("certificate", f"does not belong to {FIELD}")

    async def move(self, key: KeyToMove) -> None:
        """Move a key. Repeating it changes nothing.

        Raises:
            CredentialMisconfiguredError: The key cannot be used there, or its name is that of another key.
            CredentialStoreError: The signer is unusable, or denies this login to import.

        """
        await self._signer().import_key(key.name, key.private_key, key.passphrase)

    def available(self) -> None:
        """Refuse to move a key if there is no signer.

        Raises:
            CredentialMisconfiguredError: There is none.

        """
        self._signer()

    def _signer(self) -> RemoteKeys:
        if self._keys is None:
            raise CredentialMisconfiguredError(FIELD, f"needs {REMOTE_SCHEMES[TRANSIT].needs}")
        return self._keys
