"""A certificate authority for tests, and server certificates of it."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class IssuedCertificate:
    """A server certificate with its key, as PEM.

    Args:
        chain: The certificate, then that of its authority.
        key: Its private key.
        der: Only the certificate, as a client sees it.
        not_after: Its end, in Unix time.

    """

    chain: bytes
    key: bytes
    der: bytes
    not_after: float


class Authority:
    """A new authority; its name is that of every other one."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("authority of the tests")
        self._certificate = (
            _builder(self._name, self._name, self._key.public_key(), _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_signs_certificates(), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = self._certificate.public_bytes(Encoding.PEM)

    def issue(
        self, address: str = "127.0.0.1", *, kind: str = "ec", life: datetime.timedelta = _DAY
    ) -> IssuedCertificate:
        """A new certificate for an address or name that ends after `life`, with a key of `kind`: ``ec`` or ``rsa``."""
        key = (
            ec.generate_private_key(ec.SECP256R1())
            if kind == "ec"
            else rsa.generate_private_key(public_exponent=65537, key_size=2048)
        )
        names = x509.SubjectAlternativeName([_alternative(address)])
        certificate = (
            _builder(_name("server of the tests"), self._name, key.public_key(), life)
            .add_extension(names, critical=False)
            # Python 3.13 asks for it, as RFC 5280 section 4.2.1.1 does.
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return IssuedCertificate(
            certificate.public_bytes(Encoding.PEM) + self.pem,
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            certificate.public_bytes(Encoding.DER),
            certificate.not_valid_after_utc.timestamp(),
        )

    def client(self) -> ssl.SSLContext:
        """A client's context that trusts only this authority."""
        return ssl.create_default_context(cadata=self.pem.decode())


def _signs_certificates() -> x509.KeyUsage:
    other = dict.fromkeys(
        (
            *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
            *("key_agreement", "encipher_only", "decipher_only"),
        ),
        False,
    )
    return x509.KeyUsage(key_cert_sign=True, crl_sign=True, **other)


def server_certificate(folder: Path, address: str = "127.0.0.1") -> tuple[Path, Path, Path]:
    """Files with a certificate for an address or name, its key, and that of the new authority that signed it."""
    authority = Authority()
    issued = authority.issue(address)
    files = (folder / "server.pem", folder / "server.key", folder / "ca.pem")
    for file, content in zip(files, (issued.chain, issued.key, authority.pem), strict=True):
        file.write_bytes(content)
    return files


def server_tls(folder: Path, address: str = "127.0.0.1") -> ssl.SSLContext:
    """A server's side of TLS for an address or name, made as `server_certificate` does; ``ca.pem`` is what to trust."""
    folder.mkdir(exist_ok=True)
    chain, key, _ = server_certificate(folder, address)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return context


def _alternative(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, life: datetime.timedelta
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 2 * _DAY)
        .not_valid_after(now + life)
    )
