"""What is given in place of a private key or a certificate is named, with what to give instead."""

from __future__ import annotations

import base64

import pytest

from app.domain.pem import PemError, certificate_pem, pem_text, private_key_pem

BODY = base64.b64encode(b"0123456789").decode()
TRUNCATED = "is truncated: it has no line -----END …----- that matches its first line"
NO_BEGIN = "is truncated: its first line, -----BEGIN …-----, is missing"
REQUEST = "is a certificate request; give the certificate that was made from it"
HAS_KEY = "has a private key; put that into the field private_key"
DER = "is base64 without PEM lines, such as DER or PKCS#12; convert it to PEM, for example with openssl"
DER_TEXT = base64.b64encode(b"\x30\x82\x01\x02\x03").decode()


def block(label: str) -> str:
    """A PEM block that has the right form."""
    return f"-----BEGIN {label}-----\n{BODY}\n-----END {label}-----\n"


@pytest.mark.parametrize(("given", "refusal"), [
    (block("PRIVATE KEY"), HAS_KEY), (block("RSA PRIVATE KEY"), HAS_KEY),
    (block("PUBLIC KEY"), "is a public key; give the certificate that was uploaded to Adobe"),
    (block("CERTIFICATE REQUEST"), REQUEST), (block("NEW CERTIFICATE REQUEST"), REQUEST),
    (block("X509 CRL"), "must be a certificate in PEM form"),
    ("words", "must be a certificate in PEM form, which begins with -----BEGIN CERTIFICATE-----"),
    (f"-----BEGIN CERTIFICATE-----\n{BODY}", TRUNCATED), (f"{BODY}\n-----END CERTIFICATE-----", NO_BEGIN),
    (DER_TEXT, DER), (7, "must be PEM text, or a list of its lines"),
    (["a", 7], "must be PEM text, or a list of its lines"),
])  # fmt: skip
def test_what_is_not_a_certificate_is_named(given: object, refusal: str) -> None:
    """The text says what it is, and what to do about it."""
    with pytest.raises(PemError) as refused:
        certificate_pem(given)
    assert str(refused.value) == refusal


@pytest.mark.parametrize(("given", "refusal"), [
    (block("CERTIFICATE"),
     "is a certificate; put it into the field certificate, and give the private key that belongs to it"),
    (block("X509 CRL"), "must be a private key in PEM form"),
    ("words", "must be a private key in PEM form, which begins with -----BEGIN PRIVATE KEY-----"),
    ("ssh-rsa AAAA", "is a public key of OpenSSH; give the private key that belongs to it, in PEM form"),
    ("PuTTY-User-Key-File-3: ssh-rsa", "is a PuTTY key; export it as an OpenSSL key (PEM)"),
    (f"-----BEGIN PRIVATE KEY-----\n{BODY}", TRUNCATED), (DER_TEXT, DER),
    (f"{DER_TEXT[:4]}!{DER_TEXT[4:]}",
     "must be a private key in PEM form, which begins with -----BEGIN PRIVATE KEY-----"),
])  # fmt: skip
def test_what_is_not_a_private_key_is_named(given: object, refusal: str) -> None:
    """The text says what it is, and what to do about it."""
    with pytest.raises(PemError) as refused:
        private_key_pem(given)
    assert str(refused.value) == refusal


@pytest.mark.parametrize("given", [
    block("CERTIFICATE"), block("CERTIFICATE").replace("\n", "\r\n"), block("CERTIFICATE").replace("\n", "\\n"),
    block("CERTIFICATE").replace("\n", "\\\\n"), block("CERTIFICATE").splitlines(),
    block("CERTIFICATE").splitlines(keepends=True), base64.b64encode(block("CERTIFICATE").encode()).decode(),
    base64.encodebytes(block("CERTIFICATE").encode()).decode(), f"  {block('CERTIFICATE')}  ",
    block("CERTIFICATE").replace("\n", " "), block("X509 CRL") + block("CERTIFICATE"),
])  # fmt: skip
def test_every_spelling_of_a_block_gives_the_same_text(given: object) -> None:
    """Other line ends, escaped ones, a list of lines, base64, blanks, and blocks of other kinds do not matter."""
    assert certificate_pem(given) == block("CERTIFICATE")


def test_long_lines_are_broken_after_64_characters() -> None:
    """As OpenSSL writes them."""
    body = base64.b64encode(bytes(range(96))).decode()
    given = f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----"
    assert certificate_pem(given).splitlines()[1:-1] == [body[:64], body[64:]]


def test_text_keeps_what_is_not_a_line_end() -> None:
    """Only base64 is decoded; other text loses the blanks around it."""
    assert pem_text(" some words\r\nmore ") == "some words\nmore"
