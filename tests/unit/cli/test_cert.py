"""``cert create``."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID
from typer.testing import CliRunner

from app.cli.program import app

ORG = "0123456789ABCDEF01234567@AdobeOrg"


def _create(folder: Path, *more: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["cert", "create", "--out-dir", str(folder), *more])
    return result.exit_code, result.stdout, result.stderr


def test_a_key_and_its_certificate_are_written(tmp_path: Path) -> None:
    """The certificate is for the key, self-signed with SHA-256, and expires in a year; the key is PKCS#8, 0600."""
    code, stdout, _ = _create(tmp_path / "new", "--org", ORG)
    assert code == 0
    key_file = tmp_path / "new" / "private.key"
    text = key_file.read_text()
    key = load_pem_private_key(text.encode(), None)
    certificate = x509.load_pem_x509_certificate((tmp_path / "new" / "certificate_pub.crt").read_bytes())
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.key_size == 2048
    assert text.startswith("-----BEGIN PRIVATE KEY-----")
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert certificate.public_key() == key.public_key()
    certificate.verify_directly_issued_by(certificate)
    assert isinstance(certificate.signature_hash_algorithm, hashes.SHA256)
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == ORG
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == timedelta(days=365)
    assert certificate.not_valid_before_utc <= datetime.now(UTC)
    assert certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ") in stdout
    assert "Next: upload" in stdout
    assert f"org import FILE --private-key {key_file}" in stdout
    assert "PRIVATE" not in stdout


def test_json_names_the_files_and_the_expiry(tmp_path: Path) -> None:
    """--json prints the files and the expiry; days and client id are as given."""
    code, stdout, _ = _create(tmp_path, "--client-id", "cm-p1-e2", "--days", "30", "--json")
    certificate = x509.load_pem_x509_certificate((tmp_path / "certificate_pub.crt").read_bytes())
    assert code == 0
    assert json.loads(stdout) == {
        "common_name": "cm-p1-e2",
        "private_key": str(tmp_path / "private.key"),
        "certificate": str(tmp_path / "certificate_pub.crt"),
        "not_after": certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == timedelta(days=30)


@pytest.mark.parametrize("name", ["private.key", "certificate_pub.crt"])
def test_an_existing_file_is_never_overwritten(tmp_path: Path, name: str) -> None:
    """If a file of either name exists, it is kept and nothing is written."""
    (tmp_path / name).write_text("precious")
    code, _, stderr = _create(tmp_path, "--org", ORG)
    assert code == 2
    assert "already exists" in stderr
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "precious"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--org", ORG, "--client-id", "x"],
        ["--org", "x"],
        ["--client-id", "a b"],
        ["--client-id", "x" * 65],
        ["--org", ORG, "--days", "0"],
        ["--org", ORG, "--days", "4000"],
        ["--org", ORG, "--bits", "1024"],
    ],
)
def test_a_usage_error_writes_nothing(tmp_path: Path, arguments: list[str]) -> None:
    """A wrong command line writes nothing."""
    code, _, stderr = _create(tmp_path / "new", *arguments)
    assert code == 2
    assert len(stderr.splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """A folder that cannot be created is reported in one sentence."""
    (tmp_path / "file").write_text("")
    code, _, stderr = _create(tmp_path / "file", "--org", ORG)
    assert code == 2
    assert "cannot be used as a folder" in stderr
