"""What a tenant's certificate says. When it ends, IMS reports an invalid signature, so its end is watched."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.domain.certificate_check import RSA, CertificateFacts
from app.domain.tenant_errors import CredentialMisconfiguredError

_LONGEST_SUBJECT = 500


def certificate_not_after(pem: str) -> float:
    """The end of validity of a PEM certificate; of the first one, if there are several.

    Returns:
        Unix time in seconds.

    Raises:
        CredentialMisconfiguredError: `pem` is not an X.509 certificate; the field is ``certificate``.

    """
    return _loaded(pem).not_valid_after_utc.timestamp()


def certificate_facts(pem: str) -> CertificateFacts:
    """What a PEM certificate says; the first one, if there are several.

    Raises:
        CredentialMisconfiguredError: `pem` is not an X.509 certificate; the field is ``certificate``.

    """
    certificate = _loaded(pem)
    try:
        key_type, key_bits, public_key = _key(certificate)
        return CertificateFacts(
            subject=_printable(certificate.subject.rfc4514_string()),
            serial_number=f"{certificate.serial_number:x}",
            sha1=certificate.fingerprint(hashes.SHA1()).hex(),  # noqa: S303  # shown to a person, trusted for nothing
            sha256=certificate.fingerprint(hashes.SHA256()).hex(),
            not_before=certificate.not_valid_before_utc.timestamp(),
            not_after=certificate.not_valid_after_utc.timestamp(),
            key_type=key_type,
            key_bits=key_bits,
            signature_hash=_signature_hash(certificate),
            public_key=public_key,
        )
    except ValueError:
        raise _not_a_certificate() from None


def _loaded(pem: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem.encode(errors="replace"))
    except (ValueError, UnsupportedAlgorithm):
        raise _not_a_certificate() from None


def _key(certificate: x509.Certificate) -> tuple[str, int | None, bytes]:
    """The type and the size of the key, and the key."""
    try:
        key = certificate.public_key()
        encoded = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except UnsupportedAlgorithm:
        return "of an unknown type", None, b""
    if isinstance(key, rsa.RSAPublicKey):
        return RSA, key.key_size, encoded
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "an elliptic-curve key", key.key_size, encoded
    if isinstance(key, dsa.DSAPublicKey):
        return "a DSA key", key.key_size, encoded
    return "not an RSA key", None, encoded


def _signature_hash(certificate: x509.Certificate) -> str | None:
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None
    return None if algorithm is None else algorithm.name


def _printable(text: str) -> str:
    """Text that cannot give orders to a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text[:_LONGEST_SUBJECT])


def _not_a_certificate() -> CredentialMisconfiguredError:
    return CredentialMisconfiguredError("certificate", "must be an X.509 certificate in PEM form")
