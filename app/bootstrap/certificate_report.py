"""Assembles the check of a certificate: what it says, what is wrong with it, and whether a key belongs to it."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.adapters.certificates import certificate_facts
from app.adapters.jose_signer.private_key import rsa_key
from app.domain.certificate_check import CertificateFacts, CertificateFinding, certificate_findings
from app.domain.certificate_file import CertificateFile
from app.domain.tenant_errors import CredentialMisconfiguredError


@dataclass(frozen=True, slots=True)
class CertificateReport:
    """What was found out about a certificate.

    Args:
        facts: What the certificate says.
        key_matches: Whether the private key belongs to it; None if there is none, or it is unusable.
        findings: What a person should know; the errors first.

    """

    facts: CertificateFacts
    key_matches: bool | None
    findings: tuple[CertificateFinding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not any(finding.is_error for finding in self.findings)


def certificate_report(file: CertificateFile, now: float) -> CertificateReport:
    """Check a certificate, and the private key if there is one, at `now`, Unix time in seconds.

    Raises:
        CredentialMisconfiguredError: It is not a certificate, or the passphrase of the key is missing or wrong.

    """
    facts = certificate_facts(file.certificate)
    findings = certificate_findings(facts, now)
    if file.private_key is None:
        return CertificateReport(facts, None, findings)
    try:
        key = rsa_key(file.private_key, file.passphrase)
    except CredentialMisconfiguredError as error:
        if error.field == "private_key_passphrase":
            raise
        return CertificateReport(
            facts, None, (CertificateFinding("key_unusable", f"The private key {error.expected}."), *findings)
        )
    if facts.belongs_to(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)):
        return CertificateReport(facts, True, findings)
    mismatch = CertificateFinding(
        "key_mismatch",
        "The private key does not belong to it. Take the key that it was made with, or make a new pair with"
        " `cert create`.",
    )
    return CertificateReport(facts, False, (mismatch, *findings))
