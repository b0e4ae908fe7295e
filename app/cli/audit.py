"""``audit``: verify an audit log, and find who received a token. Both read the log as a stream, so any length works."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.audit_input import audit_lines_of
from app.cli.failure import FAILED, USAGE, CommandError
from app.cli.printable import printable

if TYPE_CHECKING:
    from app.audit.follow import Finding
    from app.audit.trace import Trace
    from app.audit.verify import AuditVerifier

app = typer.Typer(name="audit", help="The audit log: verify it, and trace a token in it.", rich_markup_mode=None)

_Files = Annotated[
    list[str],
    typer.Argument(metavar="FILE…", help="Logs (gzip too), oldest first; - is standard input.", show_default=False),
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON lines.")]

MAX_PRINTED = 1000
"""Findings that are printed; any more are only counted."""

MAX_TOKEN = 1 << 16

_NO_CHAIN = (
    "The log has no hash chain, so it cannot be verified; that does not mean that it was changed."
    " Set BROKER_AUDIT_CHAIN=true, and the lines written from then on can be."
)


@app.command("verify")
def verify(
    files: _Files,
    expect: Annotated[
        list[str] | None,
        typer.Option(metavar="CHAIN:SEQ:SHA256", help="A stored head; its line must be in the log. Repeatable."),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Earlier files are missing: chains may begin in the middle.")
    ] = False,
    mixed: Annotated[bool, typer.Option("--mixed", help="Accept lines that are not in a chain.")] = False,
    as_json: _Json = False,
) -> None:
    """Find removed, changed, inserted and reordered lines of a log with BROKER_AUDIT_CHAIN.

    Exit status 0: it found none; 1: it found some.

    It cannot detect lines cut off at the very end of a chain, or a change of its last line, unless --expect names it.
    Nor can it detect that someone with write access rewrote a whole chain. Store the printed heads elsewhere.
    """
    from app.audit.verify import AuditVerifier
    from app.domain.audit_chain import Head

    try:
        verifier = AuditVerifier([Head.parse(text) for text in expect or ()], partial=partial, mixed=mixed)
    except ValueError as error:
        raise CommandError(f"--expect {error}.", USAGE) from None
    faults = found = 0
    printed: list[Finding] = []
    with audit_lines_of(files) as lines:
        for finding in verifier.findings(lines):
            faults += finding.is_fault
            found += 1
            if found <= MAX_PRINTED:
                printed.append(finding)
    if not verifier.chains() and not expect:
        raise CommandError(_NO_CHAIN)
    for finding in printed:
        _say(as_json, finding.sentence, kind="fault" if finding.is_fault else "note")
    for head in verifier.missing_chains():
        faults += 1
        _say(as_json, f"Chain {head.chain} is missing; line {head.seq} of it was expected.", kind="fault")
    if found > MAX_PRINTED:
        _say(as_json, f"{found - MAX_PRINTED} more findings are not shown.", kind="note")
    _print_chains(verifier, as_json)
    if faults:
        raise CommandError(f"{faults} fault{'' if faults == 1 else 's'} found; the log differs from what was written.")


@app.command("trace")
def trace_token(
    files: _Files,
    token_sha256: Annotated[
        str | None, typer.Option(metavar="HEX", help="The token's SHA-256, or at least its first 16 digits.")
    ] = None,
    token_stdin: Annotated[
        bool, typer.Option("--token-stdin", help="Read the token itself from standard input, and hash it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """List every caller that received a token. Exit status 0: at least one did; 1: none in these files."""
    from app.audit.trace import token_prefix, trace

    if (token_sha256 is None) is not token_stdin:
        raise CommandError("Give either --token-sha256 HEX or --token-stdin.", USAGE)
    if token_stdin and "-" in files:
        raise CommandError("Standard input cannot be both the token and a file.", USAGE)
    try:
        prefix = token_prefix(_sha256_of_standard_input() if token_sha256 is None else token_sha256)
    except ValueError as error:
        raise CommandError(f"--token-sha256 {error}.", USAGE) from None
    with audit_lines_of(files) as lines:
        found = trace(prefix, lines)
    if as_json:
        typer.echo(json.dumps({"token_sha256": prefix, **asdict(found)}))
    else:
        _print_table(found)
    if not found.receivers:
        if as_json:
            raise typer.Exit(FAILED)
        looked = (
            f"in {found.lines} audit lines from {found.since} to {found.until}" if found.lines else "in no audit line"
        )
        raise CommandError(f"No caller received that token: looked {looked}.")


def _sha256_of_standard_input() -> str:
    import hashlib

    token = sys.stdin.buffer.read(MAX_TOKEN + 1).strip()
    if not token or len(token) > MAX_TOKEN:
        raise CommandError("Standard input must contain only the token.", USAGE)
    return hashlib.sha256(token).hexdigest()


def _say(as_json: bool, sentence: str, *, kind: str) -> None:
    typer.echo(json.dumps({kind: sentence}) if as_json else sentence)


def _print_chains(verifier: AuditVerifier, as_json: bool) -> None:
    for chain in verifier.chains():
        if as_json:
            typer.echo(json.dumps({"chain": {**asdict(chain), "head": str(chain.head)}}))
            continue
        end = "ended" if chain.ended else "open: it runs, was killed, or its end was cut off"
        lost = f"; {chain.lost} lines lost, as the log says" if chain.lost else ""
        typer.echo(f"{chain.head}  lines {chain.first} to {chain.head.seq}, {end}{lost}")
    if verifier.other_lines:
        _say(as_json, f"{verifier.other_lines} lines are not in a chain, and not protected.", kind="note")


def _print_table(found: Trace) -> None:
    for receiver in found.receivers:
        ids = printable(", ".join(receiver.request_ids))
        more = receiver.count - len(receiver.request_ids)
        who = (receiver.caller, receiver.org, receiver.credential, receiver.endpoint, receiver.tier)
        typer.echo("  ".join(map(printable, who)))
        typer.echo(f"    {receiver.count} times, {printable(receiver.first)} to {printable(receiver.last)}")
        typer.echo(f"    requests: {ids}{f' and {more} more' if more else ''}")
    if found.left_out:
        typer.echo(f"{found.left_out} further answers, to more callers than are listed, are left out.")
    if found.receivers:
        typer.echo(f"Looked in {found.lines} audit lines from {found.since} to {found.until}.")
