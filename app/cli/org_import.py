"""``org import``: from the file that Adobe hands out to a credential of the broker."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.failure import FAILED, USAGE, CommandError
from app.cli.import_input import ImportInput, read_import, read_options
from app.cli.import_words import Imported, Outcome, as_object, description, planned, sentence
from app.cli.policy_input import JsonOption
from app.cli.with_tools import with_tools

if TYPE_CHECKING:
    from app.bootstrap.credential_tools import CredentialTools


def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="What Adobe's console lets you download (JSON).", show_default=False)
    ],
    org: Annotated[str | None, typer.Option(metavar="ORG", help="The IMS org id, if the file has none.")] = None,
    credential: Annotated[str, typer.Option(metavar="NAME", help="Name of the org's credential.")] = "default",
    client_id: Annotated[
        str | None, typer.Option(metavar="ID", help="Which credential, if the file has several.")
    ] = None,
    private_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The private key (PEM), if the file has none.")
    ] = None,
    passphrase_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The passphrase of an encrypted private key.")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The certificate (PEM) that was uploaded to Adobe.")
    ] = None,
    ims_base_url: Annotated[
        str | None, typer.Option(metavar="URL", help="The IMS host, in place of the file's, such as a sandbox.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do everything but write.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Replace a different credential without asking.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Store the credential of a file of Adobe, after IMS has accepted it.

    The file is what the Adobe Developer Console or the AEM Developer Console lets you download, a context of aio, or a
    document of the broker. Each client secret is proven by a real exchange; nothing is written if IMS refuses one. A
    different credential that is stored already is only replaced with --yes, or after a question on a terminal.
    """
    from app.domain.adobe_import import ImportFileError
    from app.domain.errors import InvalidRequestError
    from app.domain.names import parse_credential_name

    try:
        name = parse_credential_name(credential)
    except InvalidRequestError as error:
        raise CommandError(f"--{error.detail}", USAGE) from None
    options = read_options(org, client_id, private_key, passphrase_file, certificate, ims_base_url)
    given = read_import(file, name, options)

    async def work(tools: CredentialTools) -> Imported:
        return await _import(given, tools, dry_run=dry_run, yes=yes, quiet=as_json)

    try:
        imported = with_tools(work)
    except ImportFileError as error:
        raise CommandError(f"{file} {error}.", USAGE) from None
    if as_json:
        typer.echo(json.dumps(as_object(imported)))
    else:
        typer.echo(sentence(imported))
    if imported.outcome is Outcome.NOT_REPLACED:
        raise CommandError(
            f"A different credential is stored for {given.ref.org}, and nothing was written; --yes replaces it.", FAILED
        )
    if imported.version is not None and not as_json:
        typer.echo(f"{file} still holds secrets: delete it, and every copy of the private key.", err=True)


async def _import(given: ImportInput, tools: CredentialTools, *, dry_run: bool, yes: bool, quiet: bool) -> Imported:
    from app.bootstrap.importing import importer
    from app.domain.errors import BrokerError

    workflow = importer(tools, time.time)
    try:
        prepared = await workflow.prepare(given.ref, given.document, whole=given.whole)
    except BrokerError as error:
        raise CommandError(f"{error.detail} Nothing was written.", FAILED) from None
    if not quiet:
        for line in description(given, prepared):
            typer.echo(line)
    outcome = planned(prepared, dry_run=dry_run)
    if outcome is Outcome.REPLACED and not yes and not _confirmed():
        outcome = Outcome.NOT_REPLACED
    version = await workflow.apply(prepared) if outcome in {Outcome.CREATED, Outcome.REPLACED} else None
    return Imported(given, prepared, outcome, version)


def _confirmed() -> bool:
    """Whether a person at a terminal agrees; False without a terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    return typer.confirm("Replace what is stored?", err=True)
