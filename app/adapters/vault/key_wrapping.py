"""Wraps a private key for Vault, so that only its transit engine can read it.

The engine's public key wraps a new AES key (RSA-OAEP with SHA-256), which wraps the private key (AES-KWP, RFC 5649):
https://developer.hashicorp.com/vault/docs/secrets/transit/key-wrapping-guide.
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from app.adapters.vault.vault_problem import VaultProblem, VaultProblemError
from app.domain.tenant_errors import CredentialMisconfiguredError

_SIZES = (2048, 3072, 4096)
"""Bits of the RSA keys that transit keeps: https://developer.hashicorp.com/vault/api-docs/secret/transit#key-types."""

_AES_BYTES = 32


@dataclass(frozen=True, slots=True)
class MovingKey:
    """A private key on its way into Vault.

    Args:
        kind: Its type, as Vault names it.
        public_key: SubjectPublicKeyInfo, DER.
        pkcs8: The key as PKCS#8 in DER, not encrypted.

    """

    kind: str
    public_key: bytes = field(repr=False)
    pkcs8: bytes = field(repr=False)


def moving_key(pem: str, passphrase: str | None) -> MovingKey:
    """Parse the private key `pem`.

    Raises:
        CredentialMisconfiguredError: It is not an RSA key that transit can keep, or `passphrase` does not open it.

    """
    encrypted = "ENCRYPTED" in pem
    password = passphrase.encode(errors="replace") if encrypted and passphrase else None
    if encrypted and password is None:
        raise CredentialMisconfiguredError("private_key_passphrase", "is missing, and the private key is encrypted")
    try:
        key = load_pem_private_key(pem.encode(errors="replace"), password)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        field_, found = ("private_key_passphrase", "does not decrypt the private key")
        if not encrypted:
            field_, found = ("private_key", "is not a private key in PEM form")
        raise CredentialMisconfiguredError(field_, found) from None
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size not in _SIZES:
        sizes = ", ".join(map(str, _SIZES))
        raise CredentialMisconfiguredError("private_key", f"must be an RSA key with one of {sizes} bits for Vault")
    pkcs8 = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return MovingKey(f"rsa-{key.key_size}", public_der(key.public_key()), pkcs8)


def wrapped(key: MovingKey, wrapping_key: object) -> str:
    """`key` as Vault imports it: base64 of the wrapped AES key and the wrapped private key.

    Args:
        key: The private key.
        wrapping_key: The PEM of the engine's public key, as it came.

    Raises:
        VaultProblemError: `wrapping_key` is not one.

    """
    aes_key = secrets.token_bytes(_AES_BYTES)
    oaep = OAEP(mgf=MGF1(SHA256()), algorithm=SHA256(), label=None)
    sealed = rsa_public_key(wrapping_key).encrypt(aes_key, oaep)
    return base64.b64encode(sealed + aes_key_wrap_with_padding(aes_key, key.pkcs8)).decode()


def rsa_public_key(pem: object) -> rsa.RSAPublicKey:
    """The RSA public key that Vault answered.

    Raises:
        VaultProblemError: It is not one.

    """
    try:
        key = load_pem_public_key(pem.encode()) if isinstance(pem, str) else None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, rsa.RSAPublicKey):
        raise VaultProblemError(VaultProblem.UNEXPECTED_RESPONSE)
    return key


def public_der(key: rsa.RSAPublicKey) -> bytes:
    """SubjectPublicKeyInfo of `key`, so that two keys can be compared."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
