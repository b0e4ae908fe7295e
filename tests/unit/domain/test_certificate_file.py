"""The certificate in a file that a person names, in each form in which it may be there."""

from __future__ import annotations

import base64
import json

import pytest

from app.domain.certificate_file import CertificateFileError, certificate_file
from tests.unit.domain.test_pem import TRUNCATED, block

CERTIFICATE, KEY = block("CERTIFICATE"), block("PRIVATE KEY")
DOCUMENT = {"kind": "jwt", "certificate": CERTIFICATE, "private_key": KEY, "private_key_passphrase": "secret"}


def refusal(content: bytes) -> str:
    """The text with which a file is refused."""
    with pytest.raises(CertificateFileError) as refused:
        certificate_file(content)
    return str(refused.value)


def test_der_becomes_pem() -> None:
    """The bytes are those of the certificate."""
    content = b"\x30\x82\x01\x02\x03"
    text = base64.encodebytes(content).decode()
    assert certificate_file(content).certificate == f"-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("around", [b"", b"\n", b"\xef\xbb\xbf", b"\xff text \n"])
def test_a_pem_file_may_have_a_key_besides(around: bytes) -> None:
    """A byte-order mark, blanks and other bytes before it do not matter."""
    both = certificate_file(around + (KEY + CERTIFICATE).encode())
    assert (both.certificate, both.private_key, both.passphrase) == (CERTIFICATE, KEY, None)
    assert certificate_file(around + CERTIFICATE.encode()).private_key is None


def test_a_json_document_has_certificate_key_and_passphrase() -> None:
    """Each is read from its field; without a key there is none."""
    found = certificate_file(json.dumps(DOCUMENT).encode())
    assert (found.certificate, found.private_key, found.passphrase) == (CERTIFICATE, KEY, "secret")
    found = certificate_file(json.dumps({"kind": "jwt", "certificate": CERTIFICATE}).encode())
    assert (found.certificate, found.private_key, found.passphrase) == (CERTIFICATE, None, None)


def test_a_file_without_a_certificate_is_refused_with_the_reason() -> None:
    """A truncated block, a document without a certificate, and one with a defect each have their text."""
    assert refusal(b"-----BEGIN CERTIFICATE-----\nAAAA") == TRUNCATED
    assert refusal(b'{"kind": "jwt"}') == "has no certificate; give the file that was uploaded to Adobe"
    assert refusal(json.dumps({**DOCUMENT, "certificate": "-----BEGIN CERTIFICATE-----\nAA"}).encode()) == (
        f"has a defect in certificate or private_key: {TRUNCATED}"
    )
    assert refusal(b"{").startswith("is not a JSON file: ")
    assert refusal(b'{"accessToken": "x"}') not in {"None", ""}
