"""``incident``: what to do about a token that leaked."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.broker_options import DEFAULT_URLS, ApiKeyOption, CaOption, EverywhereOption, UrlsOption
from app.cli.failure import FAILED, USAGE, CommandError
from app.cli.incident_report import Containment, lines_of_report
from app.cli.org_options import named_credential
from app.cli.policy_input import JsonOption
from app.cli.regions import Purged, broker_urls, purge_at
from app.domain.secret_rotation_state import DEFAULT_CONSOLE_URL
from app.hosts import is_https_or_loopback

if TYPE_CHECKING:
    from app.audit.trace import Receiver, Trace
    from app.domain.leaked_token import LeakedToken
    from app.domain.names import CredentialRef

_MAX_TOKEN_BYTES = 1 << 16

app = typer.Typer(name="incident", help="Contain a leaked token.", rich_markup_mode=None)


@app.callback()
def _incident() -> None:
    """Keep ``contain`` a subcommand while it is the only one."""


@app.command("contain")
def contain(
    token_stdin: Annotated[
        bool, typer.Option("--token-stdin", help="Read the token from standard input (required).")
    ] = False,
    audit_log: Annotated[
        list[str] | None,
        typer.Option("--audit-log", metavar="FILE", help="An audit log (gzip too), oldest first. Repeatable."),
    ] = None,
    org: Annotated[
        str | None, typer.Option(metavar="ORG", help="The IMS org id, if the audit logs do not show it.")
    ] = None,
    credential: Annotated[
        str, typer.Option("--credential", metavar="NAME", help="With --org: the name of the credential.")
    ] = "default",
    urls: UrlsOption = DEFAULT_URLS,  # Typer's way; it is never changed
    everywhere: EverywhereOption = False,
    api_key_file: ApiKeyOption = None,
    ca_file: CaOption = None,
    rotate: Annotated[
        bool,
        typer.Option(
            "--rotate", help="Replace the secret, too; needs the variables of serve and a login that may write."
        ),
    ] = False,
    console_url: Annotated[
        str, typer.Option(metavar="URL", help="With --rotate: Adobe's secrets API.")
    ] = DEFAULT_CONSOLE_URL,
    as_json: JsonOption = False,
) -> None:
    """Find who received a leaked token, purge its credential everywhere, and replace its secret or say how to.

    With --rotate, the secret is replaced after the purge, as `secret rotate ORG --now` does. If a person must act, as
    for the certificate of a JWT credential, the report has the reason and the command. The report also says what cannot
    be undone: Adobe accepts the token until it expires. Exit status 0: all was done; 1: a broker did not purge, no
    audit log shows the token, or a secret was not replaced.
    """
    from app.cli.incident_rotation import replace_secrets

    if not is_https_or_loopback(console_url):
        raise CommandError("--console-url must be a base URL: https, or http for loopback only.", USAGE)
    if not token_stdin:
        raise CommandError("Give the token on standard input, with --token-stdin.", USAGE)
    token = _token()
    found = _trace(token, audit_log or [])
    refs = _credentials(found, org, credential)
    results = {ref: purge_at(broker_urls(urls, everywhere=everywhere), ref, api_key_file, ca_file) for ref in refs}
    replaced = replace_secrets(refs, console_url) if rotate else {}
    done = Containment(token, found, results, time.time(), replaced)
    if as_json:
        typer.echo(json.dumps(_as_json(done)))
    else:
        for line in lines_of_report(done):
            typer.echo(line)
    if not done.complete:
        raise typer.Exit(FAILED)


def _token() -> LeakedToken:
    from app.domain.leaked_token import parse_leaked_token

    text = sys.stdin.buffer.read(_MAX_TOKEN_BYTES + 1).decode("ascii", errors="replace")
    try:
        return parse_leaked_token(text)
    except ValueError as error:
        raise CommandError(f"Standard input {error}.", USAGE) from None


def _trace(token: LeakedToken, files: list[str]) -> Trace | None:
    from app.audit.trace import token_prefix, trace
    from app.cli.audit_input import audit_lines_of

    if not files:
        return None
    if "-" in files:
        raise CommandError("Standard input cannot be both the token and an audit log.", USAGE)
    with audit_lines_of(files) as lines:
        return trace(token_prefix(token.sha256), lines)


def _credentials(found: Trace | None, org: str | None, credential: str) -> tuple[CredentialRef, ...]:
    """The credentials of the token: those that the audit logs show, or else the one that the options name.

    Raises:
        CommandError: Neither is known.

    """
    seen = dict.fromkeys(_shown(() if found is None else found.receivers))
    if seen:
        return tuple(seen)
    if org is None:
        looked = "No audit log was given" if found is None else "No audit log shows this token"
        raise CommandError(f"{looked}: give --audit-log FILE of the time when it was handed out, or --org ORG.", FAILED)
    return (named_credential(org, credential),)


def _shown(receivers: Iterator[Receiver] | tuple[Receiver, ...] | list[Receiver]) -> Iterator[CredentialRef]:
    for receiver in receivers:
        yield named_credential(receiver.org, receiver.credential)


def _as_json(done: Containment) -> dict[str, object]:
    from app.domain.rfc3339 import rfc3339

    token, found = done.token, done.found
    return {
        "token_sha256": token.sha256,
        "client_id": token.client_id,
        "expires_at": None if token.expires_at is None else rfc3339(token.expires_at),
        "received_by": [] if found is None else [asdict(receiver) for receiver in found.receivers],
        "searched": None if found is None else {"lines": found.lines, "since": found.since, "until": found.until},
        "purged": [_purged(ref, results) for ref, results in done.purges.items()],
        "replaced": [{"org": ref.org, "credential": ref.name, **asdict(it)} for ref, it in done.replaced.items()],
        "complete": done.complete,
    }


def _purged(ref: CredentialRef, results: tuple[Purged, ...]) -> dict[str, object]:
    return {"org": ref.org, "credential": ref.name, "brokers": [asdict(result) for result in results]}
