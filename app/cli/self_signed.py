"""RSA key pairs with self-signed certificates, as Adobe's consoles accept them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A new key pair.

    Args:
        private_key: PKCS#8 PEM text, not encrypted.
        certificate: PEM text.
        not_after: End of the certificate's validity.

    """

    private_key: str = field(repr=False)
    certificate: str
    not_after: datetime


def new_key_pair(common_name: str, now: float, *, days: int = 365, bits: int = 2048) -> KeyPair:
    """Make a key and a self-signed certificate (SHA-256).

    Args:
        common_name: The certificate's subject: an org id or a client id, at most 64 characters.
        now: Unix time in seconds.
        days: How long the certificate is valid.
        bits: Size of the key.

    """
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    not_before = datetime.fromtimestamp(int(now), UTC)
    not_after = not_before + timedelta(days=days)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        # The same as `openssl req -x509`, which Adobe's documentation uses to make certificates.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private_key = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return KeyPair(private_key.decode(), certificate.public_bytes(Encoding.PEM).decode(), not_after)
