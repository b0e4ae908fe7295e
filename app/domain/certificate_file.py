"""Finds a certificate in a file: PEM, DER, a document of the broker, or one of Adobe's JSON files."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

from app.domain.adobe_import import ImportFileError, drafts_of
from app.domain.pem import PemError, certificate_pem, private_key_pem
from app.domain.strict_json import strict_json

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_DER_SEQUENCE = b"\x30"


class CertificateFileError(ValueError):
    """A file has no certificate. The text is the end of a sentence, and quotes no value."""


@dataclass(frozen=True, slots=True)
class CertificateFile:
    """What a file has.

    Args:
        certificate: PEM text; the first one counts.
        private_key: PEM text; None if the file has none.
        passphrase: Of the private key; None if the file has none.

    """

    certificate: str
    private_key: str | None = field(default=None, repr=False)
    passphrase: str | None = field(default=None, repr=False)


def certificate_file(content: bytes) -> CertificateFile:
    """The certificate in the bytes of a file, and the private key if there is one.

    Raises:
        CertificateFileError: There is no certificate in it.

    """
    if content.startswith(_DER_SEQUENCE):
        text = base64.encodebytes(content).decode()
        return CertificateFile(f"-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n")
    content = content.removeprefix(_BYTE_ORDER_MARK).strip()
    if content[:1] in {b"{", b"["}:
        return _from_json(content)
    text = content.decode(errors="replace")
    try:
        return CertificateFile(certificate_pem(text), _key_beside(text))
    except PemError as error:
        raise CertificateFileError(str(error)) from None


def _from_json(content: bytes) -> CertificateFile:
    try:
        drafts = drafts_of(strict_json(content))
    except ImportFileError as error:
        raise CertificateFileError(str(error)) from None
    except ValueError as error:
        raise CertificateFileError(f"is not a JSON file: {error}") from None
    fields = next((draft.fields for draft in drafts if draft.fields.get("certificate") is not None), None)
    if fields is None:
        raise CertificateFileError("has no certificate; give the file that was uploaded to Adobe")
    try:
        private_key = fields.get("private_key")
        passphrase = fields.get("private_key_passphrase")
        return CertificateFile(
            certificate_pem(fields["certificate"]),
            None if private_key is None else private_key_pem(private_key),
            passphrase if isinstance(passphrase, str) else None,
        )
    except PemError as error:
        raise CertificateFileError(f"has a defect in certificate or private_key: {error}") from None


def _key_beside(text: str) -> str | None:
    """The private key in the same PEM file, if there is a usable one."""
    try:
        return private_key_pem(text)
    except PemError:
        return None
