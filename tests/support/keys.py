"""RSA key pairs with self-signed certificates, made once per run, in every form they are met in."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

PASSPHRASE = "correct horse battery staple"


@dataclass(frozen=True)
class KeyWithCertificate:
    """A private key as PEM text in several forms, and its certificate."""

    key: rsa.RSAPrivateKey
    pkcs8: str
    pkcs1: str
    encrypted: str
    encrypted_pkcs1: str
    certificate: str
    not_after: float

    @property
    def pkcs1_crlf(self) -> str:
        """As the AEM Developer Console writes it."""
        return self.pkcs1.replace("\n", "\r\n")


@functools.cache
def key_pair(name: str = "tenant") -> KeyWithCertificate:
    """The pair of this name; the same one for the whole run."""
    key = new_rsa_key(label=name)
    not_after = datetime.now(UTC).replace(microsecond=0) + timedelta(days=365)
    secret = BestAvailableEncryption(PASSPHRASE.encode())
    return KeyWithCertificate(
        key=key,
        pkcs8=private_pem(key, PrivateFormat.PKCS8),
        pkcs1=private_pem(key, PrivateFormat.TraditionalOpenSSL),
        encrypted=private_pem(key, PrivateFormat.PKCS8, secret),
        encrypted_pkcs1=private_pem(key, PrivateFormat.TraditionalOpenSSL, secret),
        certificate=self_signed(key, name, not_after=not_after),
        not_after=not_after.timestamp(),
    )


@functools.cache
def new_rsa_key(bits: int = 2048, label: str = "") -> rsa.RSAPrivateKey:
    """An RSA key of this size; the same one for the same arguments."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@functools.cache
def ec_pem() -> str:
    """A private key that is not RSA."""
    return private_pem(ec.generate_private_key(ec.SECP256R1()), PrivateFormat.PKCS8)


@functools.cache
def ed25519_pem() -> str:
    """A private key of a type that PKCS#8 can hold and IMS cannot use."""
    return private_pem(ed25519.Ed25519PrivateKey.generate(), PrivateFormat.PKCS8)


def private_pem(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey,
    form: PrivateFormat,
    encryption: KeySerializationEncryption | None = None,
) -> str:
    """A private key as PEM text."""
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption()).decode()


def self_signed(
    key: rsa.RSAPrivateKey,
    name: str = "tenant",
    *,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
) -> str:
    """A self-signed certificate of `key` as PEM text."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before or now - timedelta(days=1))
        .not_valid_after(not_after or now + timedelta(days=365))
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
