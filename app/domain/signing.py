"""The key that signs a credential's assertions: one in its document, or one that a remote signer keeps.

A new remote signer is a row of `REMOTE_SCHEMES`, a package in `app/adapters` and a line in `app/bootstrap/minting.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from app.domain.kms_key import KMS_KEY

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192
"""A larger key would block the event loop for tens of milliseconds per signature."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A private key in the credential's document.

    Args:
        private_key: PEM, PKCS#8 or PKCS#1.
        passphrase: The passphrase that decrypts it, or None.

    """

    scheme: ClassVar[str] = "stored"
    private_key: str = field(repr=False)
    passphrase: str | None = field(repr=False, default=None)


@dataclass(frozen=True, slots=True)
class RemoteKey:
    """A key that never leaves its signer.

    Args:
        scheme: The scheme of its signer, a key of `REMOTE_SCHEMES`.
        name: Its name at the signer, in the form that `REMOTE_SCHEMES` allows.

    """

    scheme: str
    name: str


SigningKey = StoredKey | RemoteKey


@dataclass(frozen=True, slots=True)
class RemoteScheme:
    """How a credential's document names a key of a remote signer.

    Args:
        field: The field of the document that has the name of the key.
        name: The pattern of names.
        expected: The pattern in words, as the end of "must be …".
        needs: The settings that the broker needs to run this signer.

    """

    field: str
    name: re.Pattern[str]
    expected: str
    needs: str


REMOTE_SCHEMES: Mapping[str, RemoteScheme] = {
    "transit": RemoteScheme(
        field="transit_key",
        name=re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}(:[1-9][0-9]{0,5})?"),
        expected="the name of a Vault transit key, or name:version",
        needs="Vault: BROKER_CREDENTIAL_STORE=vault",
    ),
    "kms": RemoteScheme(
        field="kms_key",
        name=KMS_KEY,
        expected="the key id, the alias (alias/…) or the ARN of an AWS KMS key",
        needs="AWS KMS: BROKER_KMS_REGION",
    ),
}
"""The signers that keep keys for credentials, by scheme."""
