"""CA bundles: which certificates a TLS client trusts."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from app.process.ca_bundle import MAX_BUNDLE_BYTES, client_context
from app.process.regular_file import FileError
from tests.support.tls import Authority


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """The path of a bundle."""
    return tmp_path / "ca.pem"


def test_only_the_bundle_is_trusted(bundle: Path) -> None:
    """All certificates of a bundle are trusted, the system's are not, and names are checked."""
    bundle.write_bytes(Authority().pem + "# Főtanúsítvány\n".encode() + Authority().pem)
    context = client_context(bundle)
    assert len(context.get_ca_certs()) == 2
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_without_a_bundle_the_systems_certificates_are_trusted() -> None:
    """No file means the certificates of the system."""
    context = client_context(None)
    assert context.get_ca_certs() == ssl.create_default_context().get_ca_certs()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\n", "does not hold CA certificates in PEM form"),
        (b"\xff\xfe\0x", "does not hold CA certificates in PEM form"),
        (
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "does not hold CA certificates in PEM form",
        ),
        (b"x" * (MAX_BUNDLE_BYTES + 1), "is larger than 1 MiB"),
    ],
)
def test_a_bundle_without_certificates_is_refused(bundle: Path, content: bytes, reason: str) -> None:
    """A file without certificates is an error: the system's certificates are not used instead."""
    bundle.write_bytes(content)
    with pytest.raises(FileError) as refused:
        client_context(bundle)
    assert refused.value.reason == reason


def test_a_bundle_with_one_bad_certificate_is_refused(bundle: Path) -> None:
    """A truncated bundle is refused as a whole."""
    bundle.write_bytes(Authority().pem + Authority().pem[:-60])
    with pytest.raises(FileError, match="does not hold CA certificates"):
        client_context(bundle)
