"""Loading a certificate with its key, so that what was checked is what is used."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from app.process.regular_file import FileError, read_bytes
from app.process.renewed_file import StillChangingError, stable_content

MAX_PAIR_BYTES = 256 * 1024

Part = Literal["cert", "key"]


class CertificatePairError(ValueError):
    """A certificate and its key are refused together. The text never has a part of the files.

    Args:
        part: Which file is at fault.
        expected: What is wrong with it.

    """

    def __init__(self, part: Part, expected: str) -> None:
        super().__init__(f"{'certificate' if part == 'cert' else 'key'}: {expected}")
        self.part = part
        self.expected = expected


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its key, ready for use.

    Args:
        digest: Identifies the content of the two files.
        context: Presents the certificate to the peer.
        not_after: The certificate's end, in Unix time.

    """

    digest: bytes
    context: ssl.SSLContext
    not_after: float


def load_pair(cert_file: Path, key_file: Path, new_context: Callable[[], ssl.SSLContext]) -> Pair:
    """Read the pair, now and in this thread.

    Args:
        cert_file: The chain (PEM), the own certificate first.
        key_file: The private key (PEM, not encrypted).
        new_context: Makes a context without a certificate, to put the pair into.

    Raises:
        CertificatePairError: A file cannot be read, or the key does not belong to the certificate.

    """

    def between(pair: tuple[bytes, bytes]) -> tuple[float, ssl.SSLContext | None]:
        not_after = _checked(*pair)
        context = new_context()
        try:
            # Without a password OpenSSL would ask for one at the terminal.
            context.load_cert_chain(cert_file, key_file, password="")
        except (OSError, ValueError):  # an SSLError is an OSError
            return not_after, None
        return not_after, context

    # OpenSSL reads the files itself, so they are read once more: what was checked must be what was loaded.
    first = contents(cert_file, key_file)
    try:
        pair, (not_after, context) = stable_content(first, lambda: contents(cert_file, key_file), between)
    except StillChangingError:
        raise CertificatePairError("cert", "is still being written") from None
    if context is None:
        raise CertificatePairError("cert", "is not accepted by OpenSSL: a part is missing, or its key is weak")
    return Pair(digest_of(*pair), context, not_after)


def _checked(chain: bytes, key: bytes) -> float:
    """The end of the certificate, in Unix time, if the two are a pair."""
    try:
        certificate = x509.load_pem_x509_certificates(chain)[0]
        public = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise CertificatePairError("cert", "must be a certificate chain in PEM form") from None
    try:
        private = load_pem_private_key(key, None)
    except TypeError:
        raise CertificatePairError("key", "must not be encrypted") from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificatePairError("key", "must be a private key in PEM form") from None
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if private.public_key().public_bytes(*form) != public.public_bytes(*form):
        raise CertificatePairError("key", "does not belong to the certificate")
    return certificate.not_valid_after_utc.timestamp()


def digest_of(chain: bytes, key: bytes) -> bytes:
    """What identifies the content of the two files."""
    return hashlib.sha256(hashlib.sha256(chain).digest() + hashlib.sha256(key).digest()).digest()


def contents(cert_file: Path, key_file: Path) -> tuple[bytes, bytes]:
    """The content of the two files.

    Raises:
        CertificatePairError: A file cannot be read.

    """
    return _content(cert_file, "cert"), _content(key_file, "key")


def _content(path: Path, part: Part) -> bytes:
    try:
        return read_bytes(path, MAX_PAIR_BYTES)
    except FileError as error:
        raise CertificatePairError(part, error.reason) from None
