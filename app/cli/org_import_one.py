"""``org import`` of one file."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from app.cli.failure import FAILED, USAGE, CommandError
from app.cli.import_input import ImportMode, read_import
from app.cli.import_words import Imported, as_object, description, sentence
from app.cli.questions import confirmed, is_terminal
from app.cli.with_tools import with_tools

if TYPE_CHECKING:
    from app.bootstrap.credential_tools import CredentialTools
    from app.domain.import_file import ImportInput
    from app.domain.import_options import ImportOptions
    from app.domain.names import CredentialName


def import_one(file: Path, name: CredentialName, options: ImportOptions, mode: ImportMode) -> None:
    """Import the credential of one file, and say what was done.

    Raises:
        CommandError: It was not imported.

    """
    from app.domain.adobe_import import ImportFileError
    from app.lifecycle.import_credential import ImportOutcome

    given = read_import(file, name, options)

    async def work(tools: CredentialTools) -> Imported:
        return await _import(given, tools, mode)

    try:
        imported = with_tools(work)
    except ImportFileError as error:
        raise CommandError(f"{file} {error}.", USAGE) from None
    typer.echo(json.dumps(as_object(imported)) if mode.as_json else sentence(imported))
    if imported.outcome is ImportOutcome.NOT_REPLACED:
        raise CommandError(
            f"A different credential is stored for {given.ref.org}, and nothing was written; --yes replaces it.", FAILED
        )
    if imported.version is not None and not mode.as_json:
        key = ", and every copy of the private key" if given.has_private_key else ""
        typer.echo(f"{file} still holds secrets: delete it{key}.", err=True)


async def _import(given: ImportInput, tools: CredentialTools, mode: ImportMode) -> Imported:
    from app.bootstrap.importing import importer
    from app.domain.errors import BrokerError
    from app.lifecycle.import_credential import WRITES, ImportOutcome

    workflow = importer(tools, time.time)
    try:
        prepared = await workflow.prepare(given)
    except BrokerError as error:
        raise CommandError(f"{error.detail} Nothing was written.", FAILED) from None
    if not mode.as_json:
        for line in description(given, prepared):
            typer.echo(line)
    outcome = prepared.planned(dry_run=mode.dry_run)
    if outcome is ImportOutcome.REPLACED and not mode.yes and not _confirmed():
        outcome = ImportOutcome.NOT_REPLACED
    version = await workflow.apply(prepared) if outcome in WRITES else None
    return Imported(given, prepared, outcome, version)


def _confirmed() -> bool:
    """Whether a person at a terminal agrees; False without a terminal."""
    return is_terminal() and confirmed("Replace what is stored?")
