"""Loading a server's certificate with its key, so that what was checked is what is served."""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from app.process.regular_file import FileError, read_bytes
from app.process.renewed_file import UnsettledError, settled

MAX_PAIR_BYTES = 256 * 1024

Part = Literal["cert", "key"]


class ServerCertificateError(ValueError):
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
    """A certificate with its key, ready to serve.

    Args:
        digest: Identifies the content of the two files.
        context: Serves TLS with the pair.
        not_after: The certificate's end, in Unix time.

    """

    digest: bytes
    context: ssl.SSLContext
    not_after: float


def load_pair(cert_file: Path, key_file: Path) -> Pair:
    """Read the pair, now and in this thread.

    Raises:
        ServerCertificateError: A file cannot be read, or the key does not belong to the certificate.

    """

    def between(pair: tuple[bytes, bytes]) -> tuple[float, ssl.SSLContext | None]:
        not_after = _checked(*pair)
        context = server_context()
        try:
            # Without a password OpenSSL would ask for one at the terminal.
            context.load_cert_chain(cert_file, key_file, password="")
        except (OSError, ValueError):  # an SSLError is an OSError
            return not_after, None
        return not_after, context

    # OpenSSL reads the files itself, so they are read once more: what was checked must be what was loaded.
    first = contents(cert_file, key_file)
    try:
        pair, (not_after, context) = settled(first, lambda: contents(cert_file, key_file), between)
    except UnsettledError:
        raise ServerCertificateError("cert", "is still being written") from None
    if context is None:
        raise ServerCertificateError("cert", "is not accepted by OpenSSL: a part is missing, or its key is weak")
    return Pair(digest_of(*pair), context, not_after)


def server_context() -> ssl.SSLContext:
    """A server's TLS context without a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # a client could make the server work at no cost of its own
    context.set_alpn_protocols(["http/1.1"])
    return context


def _checked(chain: bytes, key: bytes) -> float:
    """The end of the certificate, in Unix time, if the two are a pair."""
    try:
        certificate = x509.load_pem_x509_certificates(chain)[0]
        public = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise ServerCertificateError("cert", "must be a certificate chain in PEM form") from None
    try:
        private = load_pem_private_key(key, None)
    except TypeError:
        raise ServerCertificateError("key", "must not be encrypted") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ServerCertificateError("key", "must be a private key in PEM form") from None
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if private.public_key().public_bytes(*form) != public.public_bytes(*form):
        raise ServerCertificateError("key", "does not belong to the certificate")
    return certificate.not_valid_after_utc.timestamp()


def digest_of(chain: bytes, key: bytes) -> bytes:
    """What identifies the content of the two files."""
    return hashlib.sha256(hashlib.sha256(chain).digest() + hashlib.sha256(key).digest()).digest()


def contents(cert_file: Path, key_file: Path) -> tuple[bytes, bytes]:
    """The content of the two files.

    Raises:
        ServerCertificateError: A file cannot be read.

    """
    return _content(cert_file, "cert"), _content(key_file, "key")


def _content(path: Path, part: Part) -> bytes:
    try:
        return read_bytes(path, MAX_PAIR_BYTES)
    except FileError as error:
        raise ServerCertificateError(part, error.reason) from None
