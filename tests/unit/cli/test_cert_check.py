"""``cert check``."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from typer.testing import CliRunner

from app.cli.program import app
from tests.support.keys import PASSPHRASE, ec_pem, key_pair, new_rsa_key, self_signed
from tests.support.tenants import Tenant


def _check(*words: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["cert", "check", *map(str, words)])
    return result.exit_code, result.stdout, result.stderr


def _file(folder: Path, content: str | bytes, name: str = "certificate.crt") -> Path:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def _codes(*words: object) -> tuple[int, list[str]]:
    code, stdout, _ = _check(*words, "--json")
    return code, [finding["code"] for finding in json.loads(stdout)["findings"]]


def _made_by(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, hashed: hashes.SHA256 | hashes.SHA512) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tenant")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    valid = builder.serial_number(7).not_valid_before(now).not_valid_after(now + timedelta(days=365))
    return valid.sign(key, hashed).public_bytes(Encoding.PEM).decode()


def _der(pem: str) -> bytes:
    return base64.b64decode("".join(pem.splitlines()[1:-1]))


def test_a_good_pair_is_described_for_programs(tmp_path: Path) -> None:
    """--json has the facts of the certificate, says that the key belongs to it, and finds nothing; the status is 0."""
    pair = key_pair()
    file = _file(tmp_path, pair.certificate)
    code, stdout, stderr = _check(file, "--private-key", _file(tmp_path, pair.pkcs8, "key"), "--json")
    certificate = x509.load_pem_x509_certificate(pair.certificate.encode())
    answer = json.loads(stdout)
    assert (code, stderr) == (0, "")
    assert 364 < answer.pop("days_left") <= 365
    assert answer == {
        "file": str(file),
        "ok": True,
        "subject": "CN=tenant",
        "serial_number": f"{certificate.serial_number:x}",
        "sha1": certificate.fingerprint(hashes.SHA1()).hex(),  # compared, trusted for nothing
        "sha256": certificate.fingerprint(hashes.SHA256()).hex(),
        "not_before": certificate.not_valid_before_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "not_after": certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "key_type": "RSA",
        "key_bits": 2048,
        "signature_hash": "sha256",
        "key_matches": True,
        "findings": [],
    }


def test_a_good_certificate_is_described_for_people(tmp_path: Path) -> None:
    """Without --json the same facts come line by line, and without a key it says that none was compared."""
    code, stdout, _ = _check(_file(tmp_path, key_pair().certificate))
    assert code == 0
    assert "Subject:        CN=tenant" in stdout
    assert "Key:            RSA, 2048 bits" in stdout
    assert "Private key:    not compared" in stdout
    assert "Nothing is wrong with it." in stdout


def test_a_certificate_is_found_in_each_kind_of_file(tmp_path: Path) -> None:
    """DER, CRLF, a PEM file with its key, a document and Adobe's AEM file are all read; a key in them is compared."""
    pair = key_pair()
    document = Tenant("https://ims-na1.adobelogin.com", kind="jwt").document()
    integration = {
        "org": document["org_id"],
        "id": document["technical_account_id"],
        "technicalAccount": {"clientId": "cm-p1-e2", "clientSecret": "secret"},
        "metascopes": "ent_aem_cloud_api",
        "imsEndpoint": "ims-na1.adobelogin.com",
        "privateKey": pair.pkcs1_crlf,
        "publicKey": pair.certificate.replace("\n", "\r\n"),
    }
    files: tuple[tuple[str | bytes, bool | None], ...] = (
        (_der(pair.certificate), None),
        (pair.certificate.replace("\n", "\r\n"), None),
        (pair.pkcs8 + pair.certificate, True),
        (json.dumps(document), True),
        (json.dumps({"ok": True, "integration": integration, "statusCode": 200}), True),
    )
    for content, matches in files:
        code, stdout, stderr = _check(_file(tmp_path, content), "--json")
        assert (code, stderr) == (0, "")
        answer = json.loads(stdout)
        assert (answer["key_matches"], answer["key_bits"]) == (matches, 2048)
        assert "PRIVATE KEY" not in stdout


def test_a_key_of_another_certificate_is_wrong(tmp_path: Path) -> None:
    """A private key that does not belong to the certificate is an error, and so is one that Adobe cannot use."""
    file = _file(tmp_path, key_pair().certificate)
    other = _file(tmp_path, key_pair("other").pkcs8, "other")
    assert _codes(file, "--private-key", other) == (1, ["key_mismatch"])
    assert _codes(file, "--private-key", _file(tmp_path, ec_pem(), "ec")) == (1, ["key_unusable"])


def test_what_adobe_will_refuse_is_wrong(tmp_path: Path) -> None:
    """An expired, future, small, elliptic-curve or SHA-1 certificate is an error; each has a name of its own."""
    now, key = datetime.now(UTC), key_pair().key
    wrong = {
        "expired": self_signed(key, not_before=now - timedelta(days=9), not_after=now - timedelta(days=1)),
        "not_yet_valid": self_signed(key, not_before=now + timedelta(days=1)),
        "key_size": self_signed(new_rsa_key(1024)),
        "not_rsa": _made_by(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()),
        "weak_signature": _SHA1,
    }
    for code, pem in wrong.items():
        status, found = _codes(_file(tmp_path, pem))
        assert (status, found[0]) == (1, code)


def test_what_adobe_does_not_document_is_only_noted(tmp_path: Path) -> None:
    """A certificate that ends within 30 days, a larger key and SHA-512 are notes: the status is 0."""
    soon = self_signed(key_pair().key, not_after=datetime.now(UTC) + timedelta(days=20))
    assert _codes(_file(tmp_path, soon)) == (0, ["ends_soon"])
    assert _codes(_file(tmp_path, self_signed(new_rsa_key(3072)))) == (0, ["key_size_undocumented"])
    assert _codes(_file(tmp_path, _made_by(key_pair().key, hashes.SHA512()))) == (0, ["signature_undocumented"])


def test_an_encrypted_key_needs_its_passphrase(tmp_path: Path) -> None:
    """A missing or wrong passphrase is one sentence and status 2; the right one compares the key."""
    file = _file(tmp_path, key_pair().certificate)
    words = (file, "--private-key", _file(tmp_path, key_pair().encrypted, "key"))
    code, _, stderr = _check(*words)
    assert (code, "its passphrase is missing: give --passphrase-file" in stderr) == (2, True), stderr
    code, _, stderr = _check(*words, "--passphrase-file", _file(tmp_path, "wrong-one", "wrong"))
    assert (code, "does not decrypt" in stderr, "wrong-one" in stderr) == (2, True, False), stderr
    assert _codes(*words, "--passphrase-file", _file(tmp_path, f"{PASSPHRASE}\n", "right")) == (0, [])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("nothing", "must be a certificate in PEM form"),
        ("", "must be a certificate in PEM form"),
        (b"\x30\x03\x02\x01\x00", "must be an X.509 certificate"),
        ("{", "is not a JSON file"),
        ('{"kind": "jwt"}', "has no certificate"),
        ('{"kind": "jwt", "certificate": "x"}', "has a defect in certificate"),
        ("-----BEGIN CERTIFICATE-----\nMIIB", "is truncated"),
    ],
)
def test_a_file_without_a_certificate_is_named(tmp_path: Path, content: str | bytes, sentence: str) -> None:
    """A file that has no certificate is one sentence with its name, and status 2."""
    file = _file(tmp_path, content)
    code, stdout, stderr = _check(file)
    assert (code, stdout) == (2, "")
    assert f"Error: {file} " in stderr
    assert sentence in stderr
    assert len(stderr.splitlines()) == 1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A file that does not exist is one sentence and status 2."""
    code, _, stderr = _check(tmp_path / "missing")
    assert (code, "missing" in stderr) == (2, True)


# Signed with SHA-1 by openssl; valid for 100 years. The library that the tests use refuses to make one.
_SHA1 = """-----BEGIN CERTIFICATE-----
MIIDBTCCAe2gAwIBAgIUN+A87IdduuLSthTncjHF84uPRywwDQYJKoZIhvcNAQEF
BQAwETEPMA0GA1UEAwwGdGVuYW50MCAXDTI2MTEyNjIxMDI1OVoYDzIxMjYxMTAy
MjEwMjU5WjARMQ8wDQYDVQQDDAZ0ZW5hbnQwggEiMA0GCSqGSIb3DQEBAQUAA4IB
DwAwggEKAoIBAQCfpQVV9mmaTxcVtiPYNzmfbdiqYocyfnJpHPJYRfrkVxNi+Kt1
bBRaBlsVMSIu8MB6bxFaNXDR2v06Gi1FDdTPsCd+xtZaFJoUPjoPPiczF1izK7KM
miIU1WMlb3KAWI6ZG463VsZMKUG/sUL7CF3IIbj9TSWDkI1UIG6gHX0fQLZptN4O
PeyVMA/yhMjG03depTm2gowf7Oh+zl71y5YTEKtNLGJxjcTFxQrsbg6o1olwkyIu
AbME06huUd1WEkRRO4//rxncEJFbq/9bSnN2iJB8SpiH8ZcdAXPs6jpG6MxO7/Vv
qLLgFZBQg8kFsS52WuBdtbextNTecOqMhetDAgMBAAGjUzBRMB0GA1UdDgQWBBTJ
YFBddX2Guh5aycrD4qIieksB4zAfBgNVHSMEGDAWgBTJYFBddX2Guh5aycrD4qIi
eksB4zAPBgNVHRMBAf8EBTADAQH/MA0GCSqGSIb3DQEBBQUAA4IBAQCbPxllJYUB
a8sTObUpI6TKqDQCuIwqFWA4ut6eMlq2QIGyU8qqDBOGrA29kjaHlVvY03UJUImG
gppZrU5ACD+JLc+bTmzY7h9zbDJLzT/nHMo0w/pyq9yOm9SBsi5iW86j7sZM7rOW
KZKFUXabi8ENZtNkHatjUA9HAZTC8Ixk+G4nsqyxx2ectwNez91oT7rQyhCUVUzx
w0GjyEayiavpsCslseVPTxvxmHPYI5e3ZEiDjCu+/GYPFjrUPVgEb0M3Mygw1dmP
Ts6HIwHNkLdokAzXPA32XHdGVuxe3u4Z1xXT0cJjP0EQxuOVVdhME1n59KH8xN2Y
9aE6MmuEI2kA
-----END CERTIFICATE-----
"""
