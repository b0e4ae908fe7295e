"""``cert rotate``: replaces the key and the certificate of a credential while it is in use."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.durations import parse_duration
from app.cli.failure import FAILED, USAGE, CommandError
from app.cli.import_input import MAX_PEM_BYTES
from app.cli.new_file import replace_file
from app.cli.org_options import CredentialOption, name_of, named_credential
from app.cli.policy_input import JsonOption
from app.cli.with_tools import with_tools

if TYPE_CHECKING:
    from app.bootstrap.credential_tools import CredentialTools
    from app.domain.certificate_check import CertificateFacts
    from app.domain.certificate_file import CertificateFile
    from app.domain.certificate_rotation_state import SigningPair
    from app.domain.names import CredentialRef
    from app.lifecycle.certificate_rotation import AwaitingUpload, CertificateReplaced, CertificateRotation

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 10.0
"""Seconds between two questions whether IMS accepts the new key: each longer than the one before."""

SETTLED_SECONDS = 60
"""After this time no exchange in progress can use the old key any more (docs/contract.md: 15 s, and clocks differ)."""


@dataclass(frozen=True, slots=True)
class _Order:
    """What to do.

    Args:
        ref: The credential.
        make: Makes a new pair.
        given: The pair of the operator.
        timeout: Seconds to wait for the upload.
        out: Where the new certificate is written; None for standard output.
        as_json: Whether the answer is JSON.

    """

    ref: CredentialRef
    make: Callable[[], SigningPair]
    given: SigningPair | None
    timeout: float
    out: Path | None
    as_json: bool


def rotate_certificate(
    org: Annotated[str, typer.Argument(metavar="ORG", help="The IMS org id.", show_default=False)],
    credential: CredentialOption = "default",
    private_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The new private key. Default: create a new pair.")
    ] = None,
    certificate: Annotated[Path | None, typer.Option(metavar="FILE", help="The certificate of --private-key.")] = None,
    passphrase_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The passphrase of --private-key.")
    ] = None,
    days: Annotated[int, typer.Option(metavar="DAYS", min=1, max=3650, help="Days a new certificate is valid.")] = 365,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File for the new certificate. Default: standard output.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until Adobe has the new certificate, or exit at once.")
    ] = True,
    timeout: Annotated[str, typer.Option(metavar="DURATION", help="The longest time to wait.")] = "15m",
    discard: Annotated[
        bool, typer.Option("--discard", help="Discard a rotation whose new key is not in the document.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Replace the key and certificate of a JWT credential without a failed request.

    Makes a new pair and keeps it in the credential store; you upload its certificate in Adobe's console, next to the
    old one. When a real exchange with the new key succeeds, the document is written and tested again. Needs the
    variables of ``serve`` and a login with write access. If a run is interrupted, the next one finishes it.
    """
    ref = named_credential(org, credential)
    if (private_key is None) != (certificate is None):
        raise CommandError("Give both --private-key and --certificate, or neither.", USAGE)
    given = None if private_key is None or certificate is None else _given(private_key, certificate, passphrase_file)
    seconds = parse_duration("--timeout", timeout) if wait else 0.0
    order = _Order(ref, lambda: _made(ref, days), given, seconds, out, as_json)

    async def work(tools: CredentialTools) -> bool:
        from app.bootstrap.rotating import certificate_rotation

        rotation = certificate_rotation(tools, time.time, lambda step: typer.echo(f"{name_of(ref)}: {step}", err=True))
        if discard:
            await rotation.discard(ref)
            _say(order, {"status": "discarded"}, f"{name_of(ref)}: the rotation is forgotten.")
            return True
        return await _rotate(rotation, order)

    if not with_tools(work) and wait:
        raise typer.Exit(FAILED)


async def _rotate(rotation: CertificateRotation, order: _Order) -> bool:
    """Advance until the new pair is in use, or the time is over; whether it is in use."""
    from app.lifecycle.certificate_rotation import CertificateReplaced

    ends, pause, told = time.monotonic() + order.timeout, _FIRST_PAUSE, False
    while not isinstance(outcome := await rotation.advance(order.ref, order.make, order.given), CertificateReplaced):
        if not told:
            _ask_for_upload(outcome, order)
            told = True
        left = ends - time.monotonic()
        if left <= 0:
            _say(order, _awaiting_json(outcome), None)
            typer.echo(
                f"{name_of(order.ref)}: not finished; the old key is in use. After the upload, run the command again."
                f" {outcome.reason}",
                err=True,
            )
            return False
        await asyncio.sleep(min(pause, left))
        pause = min(pause * 1.5, _LONGEST_PAUSE)
    _say(order, _replaced_json(outcome), _sentence(outcome))
    await rotation.finish(order.ref)
    return True


def _ask_for_upload(outcome: AwaitingUpload, order: _Order) -> None:
    where = "which follows on standard output"
    if order.out is not None:
        replace_file(order.out, outcome.certificate)
        where = f"the file {order.out}"
    elif order.as_json:
        where = "the member certificate of the answer"
    typer.echo(
        f"{name_of(order.ref)}: upload the new certificate ({where}; SHA-1 {outcome.new.sha1}) to the same integration"
        " in Adobe's console, and leave the old one there.",
        err=True,
    )
    if order.out is None and not order.as_json:
        typer.echo(outcome.certificate.rstrip("\n"))


def _say(order: _Order, answer: dict[str, object], sentence: str | None) -> None:
    if order.as_json:
        typer.echo(json.dumps({"org": order.ref.org, "credential": order.ref.name, **answer}))
    elif sentence is not None:
        typer.echo(sentence)


def _sentence(outcome: CertificateReplaced) -> str:
    from app.domain.rfc3339 import rfc3339

    old = "the old certificate"
    if outcome.old is not None:
        old += f" (SHA-1 {outcome.old.sha1}, which ends on {rfc3339(outcome.old.not_after)})"
    return (
        f"{name_of(outcome.ref)}: the new certificate (SHA-1 {outcome.new.sha1}, valid until"
        f" {rfc3339(outcome.new.not_after)}) is in use. From {rfc3339(outcome.at + SETTLED_SECONDS)} on you may remove"
        f" {old} in Adobe's console."
    )


def _replaced_json(outcome: CertificateReplaced) -> dict[str, object]:
    from app.domain.rfc3339 import rfc3339

    old = None if outcome.old is None else _facts_json(outcome.old)
    removable = rfc3339(outcome.at + SETTLED_SECONDS)
    return {"status": "replaced", "new": _facts_json(outcome.new), "old": old, "old_removable_from": removable}


def _awaiting_json(outcome: AwaitingUpload) -> dict[str, object]:
    return {
        "status": "awaiting_upload",
        "new": _facts_json(outcome.new),
        "certificate": outcome.certificate,
        "reason": outcome.reason,
    }


def _facts_json(facts: CertificateFacts) -> dict[str, object]:
    from app.domain.rfc3339 import rfc3339

    return {"sha1": facts.sha1, "sha256": facts.sha256, "not_after": rfc3339(facts.not_after)}


def _made(ref: CredentialRef, days: int) -> SigningPair:
    from app.cli.self_signed import new_key_pair
    from app.domain.certificate_rotation_state import SigningPair

    pair = new_key_pair(ref.org, time.time(), days=days)
    return SigningPair(pair.private_key, pair.certificate)


def _given(private_key: Path, certificate: Path, passphrase_file: Path | None) -> SigningPair:
    from app.domain.certificate_file import CertificateFile
    from app.domain.certificate_rotation_state import SigningPair
    from app.domain.pem import PemError, certificate_pem, private_key_pem
    from app.process.regular_file import FileError, read_text

    reading = private_key
    try:
        key = private_key_pem(read_text(private_key, MAX_PEM_BYTES))
        reading = certificate
        pem = certificate_pem(read_text(certificate, MAX_PEM_BYTES))
        passphrase = None if passphrase_file is None else read_text(passphrase_file, MAX_PEM_BYTES).rstrip("\r\n")
    except FileError as error:
        raise CommandError(f"{error}.", USAGE) from None
    except PemError as error:
        raise CommandError(f"{reading} {error}.", USAGE) from None
    _refuse_unusable(CertificateFile(pem, key, passphrase), private_key)
    return SigningPair(key, pem, passphrase)


def _refuse_unusable(pair: CertificateFile, private_key: Path) -> None:
    """Refuse a pair of the operator that the broker or Adobe would refuse, before anything is kept."""
    from app.bootstrap.certificate_report import certificate_report
    from app.domain.tenant_errors import CredentialMisconfiguredError

    try:
        report = certificate_report(pair, time.time())
    except CredentialMisconfiguredError as error:
        raise CommandError(f"{private_key} has a defect in {error.field}: {error.expected}.", USAGE) from None
    if not report.ok:
        raise CommandError(f"The new pair cannot be used. {report.findings[0].detail}", USAGE)
