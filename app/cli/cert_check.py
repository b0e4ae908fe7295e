"""``cert check``: what a certificate says, and what Adobe or the broker would refuse."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.failure import FAILED, USAGE, CommandError
from app.cli.import_input import MAX_PEM_BYTES
from app.cli.policy_input import JsonOption

if TYPE_CHECKING:
    from app.bootstrap.certificate_report import CertificateReport
    from app.domain.certificate_file import CertificateFile
    from app.domain.tenant_errors import CredentialMisconfiguredError


def check(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A certificate (PEM or DER), a credential document, or Adobe's JSON.",
            show_default=False,
        ),
    ],
    private_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A private key (PEM) to compare with the certificate.")
    ] = None,
    passphrase_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The passphrase of the private key.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is in a certificate, whether the private key belongs to it, and what Adobe will reject.

    Exit status 1 if something is wrong. Nothing is sent anywhere.
    """
    from app.bootstrap.certificate_report import certificate_report
    from app.domain.tenant_errors import CredentialMisconfiguredError

    given = _with_key(_certificate(file), private_key, passphrase_file)
    try:
        report = certificate_report(given, time.time())
    except CredentialMisconfiguredError as error:
        raise CommandError(_sentence(error, file, private_key), USAGE) from None
    if as_json:
        typer.echo(json.dumps({"file": str(file), **report_json(report, time.time())}))
    else:
        _print(report, time.time())
    if not report.ok:
        raise typer.Exit(FAILED)


def report_json(report: CertificateReport, now: float) -> dict[str, object]:
    """A report for programs."""
    from app.domain.rfc3339 import rfc3339

    facts = report.facts
    return {
        "ok": report.ok,
        "subject": facts.subject,
        "serial_number": facts.serial_number,
        "sha1": facts.sha1,
        "sha256": facts.sha256,
        "not_before": rfc3339(facts.not_before),
        "not_after": rfc3339(facts.not_after),
        "days_left": round(facts.days_left(now), 1),
        "key_type": facts.key_type,
        "key_bits": facts.key_bits,
        "signature_hash": facts.signature_hash,
        "key_matches": report.key_matches,
        "findings": [
            {"code": finding.code, "is_error": finding.is_error, "detail": finding.detail}
            for finding in report.findings
        ],
    }


def _certificate(file: Path) -> CertificateFile:
    from app.domain.certificate_file import CertificateFileError, certificate_file
    from app.domain.credential_document import MAX_DOCUMENT_BYTES
    from app.process.regular_file import FileError, read_bytes

    try:
        return certificate_file(read_bytes(file, MAX_DOCUMENT_BYTES))
    except FileError as error:
        raise CommandError(f"{error}.", USAGE) from None
    except CertificateFileError as error:
        raise CommandError(f"{file} {error}.", USAGE) from None


def _with_key(found: CertificateFile, private_key: Path | None, passphrase: Path | None) -> CertificateFile:
    """The certificate with the key and the passphrase that the options name."""
    from app.domain.pem import PemError, private_key_pem
    from app.process.regular_file import FileError, read_text

    try:
        if private_key is not None:
            key = private_key_pem(read_text(private_key, MAX_PEM_BYTES))
            found = replace(found, private_key=key, passphrase=None)
        if passphrase is not None:
            found = replace(found, passphrase=read_text(passphrase, MAX_PEM_BYTES).rstrip("\r\n"))
    except FileError as error:
        raise CommandError(f"{error}.", USAGE) from None
    except PemError as error:
        raise CommandError(f"{private_key} {error}.", USAGE) from None
    return found


def _sentence(error: CredentialMisconfiguredError, file: Path, private_key: Path | None) -> str:
    if error.field == "private_key_passphrase":
        what = error.expected.partition(",")[0]
        return f"{private_key or file} is an encrypted private key, and its passphrase {what}: give --passphrase-file."
    return f"{file} has a defect in {error.field}: {error.expected}."


def _print(report: CertificateReport, now: float) -> None:
    from app.domain.rfc3339 import rfc3339

    facts = report.facts
    left = facts.days_left(now)
    matches = {True: "belongs to the certificate", False: "does not belong to the certificate", None: "not compared"}
    bits = "" if facts.key_bits is None else f", {facts.key_bits} bits"
    rows = {
        "Subject": facts.subject,
        "Serial number": facts.serial_number,
        "SHA-1": facts.sha1,
        "SHA-256": facts.sha256,
        "Valid": f"{rfc3339(facts.not_before)} to {rfc3339(facts.not_after)}",
        "Days left": f"{left:.1f}" if left > 0 else "none",
        "Key": f"{facts.key_type}{bits}",
        "Signature hash": facts.signature_hash or "none",
        "Private key": matches[report.key_matches],
    }
    for name, value in rows.items():
        typer.echo(f"{name + ':':<16}{value}")
    for finding in report.findings:
        typer.echo(f"{'WRONG' if finding.is_error else 'Note'}: {finding.detail}")
    if report.ok:
        typer.echo("Nothing is wrong with it. Whether Adobe has it, only an exchange shows: `org check`.")
