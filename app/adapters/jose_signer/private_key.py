"""Parses and checks the private key of a credential without blocking the event loop.

`cryptography` validates an RSA key in 40 to 60 ms and holds the GIL, so that even in a thread it would block the event
loop for that time, once for each cold tenant. Nearly all of that is a primality test of the tenant's own primes.
`_checked` does the rest of the validation instead, in well under a millisecond. A key that passes it wrongly could harm
only its owner. Decryption holds the GIL, too, so its cost is limited.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from app.domain.credential import Credential
from app.domain.signing import MAX_RSA_BITS, MIN_RSA_BITS, StoredKey
from app.domain.tenant_errors import CredentialMisconfiguredError

_MAX_ROUNDS = 1_000_000
"""PBKDF2 rounds, about 0.2 s. OpenSSL uses 2,048; OWASP recommends 600,000."""

_DAMAGED = "is damaged or truncated: what stands between its first and its last line is not a key"

_SCRYPT = bytes.fromhex("06092b06010401da47040b")
_MAX_SCRYPT_COST = 2**20
"""scrypt cost N x r x p, about 0.4 s. OpenSSL uses 2**17."""

_ENCRYPTED = re.compile(rb"-----BEGIN ENCRYPTED PRIVATE KEY-----((?:(?!-----).)*)-----END", re.DOTALL)
_INTEGER, _SEQUENCE = 0x02, 0x30


def signing_key(credential: Credential) -> rsa.RSAPrivateKey:
    """The key of `credential`, ready to sign.

    Raises:
        CredentialMisconfiguredError: ``private_key``, its passphrase or ``certificate`` is not valid.

    """
    if not isinstance(credential.signing, StoredKey):
        raise CredentialMisconfiguredError("private_key", "is needed to sign here")
    private_key = rsa_key(credential.signing.private_key, credential.signing.passphrase)
    if credential.certificate is not None:
        _check_certificate(credential.certificate, private_key)
    return private_key


def rsa_key(pem: str, passphrase: str | None) -> rsa.RSAPrivateKey:
    """The private key in PEM text.

    Raises:
        CredentialMisconfiguredError: ``private_key`` or ``private_key_passphrase`` is not valid.

    """
    return _checked(_loaded(_bytes(pem), passphrase))


def _loaded(pem: bytes, passphrase: str | None) -> rsa.RSAPrivateKey:
    encrypted = b"ENCRYPTED" in pem
    if encrypted and not passphrase:
        raise CredentialMisconfiguredError("private_key_passphrase", "is missing, and the private key is encrypted")
    password = _bytes(passphrase) if encrypted and passphrase else None
    _refuse_costly(pem)
    try:
        key = load_pem_private_key(pem, password, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        if encrypted:
            raise CredentialMisconfiguredError("private_key_passphrase", "does not decrypt the private key") from None
        raise CredentialMisconfiguredError("private_key", _DAMAGED) from None
    if not isinstance(key, rsa.RSAPrivateKey):
        what = "an elliptic-curve key" if isinstance(key, ec.EllipticCurvePrivateKey) else "not an RSA key"
        raise CredentialMisconfiguredError("private_key", f"is {what}; Adobe accepts RSA keys only")
    if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        raise CredentialMisconfiguredError(
            "private_key", f"is an RSA key of {key.key_size} bits; it must have {MIN_RSA_BITS} to {MAX_RSA_BITS}"
        )
    return key


def _checked(key: rsa.RSAPrivateKey) -> rsa.RSAPrivateKey:
    """Do all of OpenSSL's validation except the primality test; then make and verify one signature."""
    numbers = key.private_numbers()
    p, q, d, e = numbers.p, numbers.q, numbers.d, numbers.public_numbers.e
    consistent = (
        p > 2 < q
        and p % 2 == q % 2 == e % 2 == 1
        and e > 2
        and p * q == numbers.public_numbers.n
        and d * e % (p - 1) == d * e % (q - 1) == 1
        and numbers.dmp1 == d % (p - 1)
        and numbers.dmq1 == d % (q - 1)
        and numbers.iqmp * q % p == 1
    )
    try:
        if not consistent:
            raise ValueError
        signature = key.sign(b"self-test", padding.PKCS1v15(), hashes.SHA256())
        key.public_key().verify(signature, b"self-test", padding.PKCS1v15(), hashes.SHA256())
    except (ValueError, InvalidSignature):
        raise CredentialMisconfiguredError("private_key", "is damaged: its numbers do not match") from None
    return key


def _check_certificate(pem: str, key: rsa.RSAPrivateKey) -> None:
    try:
        public_key = x509.load_pem_x509_certificate(_bytes(pem)).public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise CredentialMisconfiguredError("certificate", "must be an X.509 certificate in PEM form") from None
    if public_key != key.public_key():
        raise CredentialMisconfiguredError("certificate", "does not belong to private_key")


def _bytes(text: str) -> bytes:
    # A lone surrogate would raise an error that holds the whole text.
    return text.encode(errors="replace")


def _refuse_costly(pem: bytes) -> None:
    """Refuse a PKCS#8 key whose decryption is too expensive (RFC 8018 appendix A, RFC 7914 section 7).

    The older form with ``Proc-Type`` hashes once.
    """
    for block in _ENCRYPTED.finditer(pem):
        try:
            algorithm = _algorithm(base64.b64decode(b"".join(block[1].split()), validate=True))
            numbers = list(_integers(algorithm))
        except (binascii.Error, IndexError, RecursionError):
            raise CredentialMisconfiguredError("private_key", _DAMAGED) from None
        scrypt = _SCRYPT in algorithm
        cost, bound = 1, _MAX_SCRYPT_COST if scrypt else _MAX_ROUNDS
        for number in numbers[: 3 if scrypt else 1]:
            cost *= number
        if cost > bound:
            raise CredentialMisconfiguredError(
                "private_key", f"is encrypted at too high a cost; use at most {bound} rounds"
            )


def _algorithm(der: bytes) -> bytes:
    """The AlgorithmIdentifier of an EncryptedPrivateKeyInfo: the first part of its SEQUENCE."""
    _, begin, _ = _element(der, 0)
    _, begin, end = _element(der, begin)
    return der[begin:end]


def _integers(der: bytes) -> Iterator[int]:
    """All integers of DER, in order, including those within sequences."""
    at = 0
    while at < len(der):
        tag, begin, end = _element(der, at)
        if tag == _INTEGER:
            yield int.from_bytes(der[begin:end])
        elif tag == _SEQUENCE:
            yield from _integers(der[begin:end])
        at = end


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Tag, begin and end of the content of the DER element at `at` (X.690 section 8.1).

    Raises:
        IndexError: There is no complete element.

    """
    tag, length, begin = der[at], der[at + 1], at + 2
    if length & 0x80:
        octets = length & 0x7F
        length, begin = int.from_bytes(der[begin : begin + octets]), begin + octets
    if begin + length > len(der) or begin > len(der):
        raise IndexError
    return tag, begin, begin + length
