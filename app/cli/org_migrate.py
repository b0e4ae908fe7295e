"""``org migrate``: from one kind of credential to another in place, compared before and watched after."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.bulk_progress import bulk_progress
from app.cli.durations import parse_duration
from app.cli.failure import FAILED, USAGE, CommandError
from app.cli.import_input import read_import, read_options
from app.cli.operator_words import operator_sentence
from app.cli.org_options import CredentialOption, name_of, named_credential
from app.cli.policy_input import JsonOption
from app.cli.with_tools import with_tools

if TYPE_CHECKING:
    from app.bootstrap.credential_tools import CredentialTools
    from app.domain.import_file import ImportInput
    from app.domain.import_options import ImportOptions
    from app.domain.names import CredentialRef
    from app.lifecycle.migration import Comparison, Migration


class Status(StrEnum):
    """How a migration ended."""

    COMPARED = "compared"
    MIGRATED = "migrated"
    BACK = "back"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Migrated:
    """What came of one credential.

    Args:
        ref: The credential.
        status: How it ended.
        comparison: What differs; None if it could not be compared.
        detail: Why it failed.

    """

    ref: CredentialRef
    status: Status
    comparison: Comparison | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class _Order:
    """What to do.

    Args:
        inputs: The new credential of each org.
        dry_run: Whether to compare only.
        accept_loss: Whether a token that lacks something is accepted.
        watch: Seconds to watch each migration.

    """

    inputs: tuple[ImportInput, ...] = field(repr=False)
    dry_run: bool
    accept_loss: bool
    watch: float


def migrate_org(
    org: Annotated[str | None, typer.Argument(metavar="[ORG]", help="The IMS org id.", show_default=False)] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="FILE", help="The new credential: Adobe's file or a document; with --all a folder."
        ),
    ] = None,
    credential: CredentialOption = "default",
    every: Annotated[bool, typer.Option("--all", help="All orgs that have a file in the folder.")] = False,
    back: Annotated[bool, typer.Option("--back", help="Restore the document from before the migration.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Mint both tokens and compare them, but do not write.")
    ] = False,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Migrate even if the new token lacks something.")
    ] = False,
    watch: Annotated[
        str,
        typer.Option(
            metavar="DURATION", help="After the switch, keep testing for this time, and switch back if IMS refuses."
        ),
    ] = "0s",
    client_id: Annotated[
        str | None, typer.Option(metavar="ID", help="The credential to take, if a file has several.")
    ] = None,
    private_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The private key (PEM), if the file has none.")
    ] = None,
    passphrase_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The passphrase of an encrypted private key.")
    ] = None,
    ims_base_url: Annotated[
        str | None, typer.Option(metavar="URL", help="The IMS host, in place of the file's, such as a sandbox.")
    ] = None,
    parallel: Annotated[int, typer.Option(metavar="N", min=1, max=64, help="With --all: migrations at a time.")] = 4,
    as_json: JsonOption = False,
) -> None:
    """Change a credential's kind in place, such as from JWT to OAuth Server-to-Server, and back with --back.

    Mints and compares both tokens, and shows the differences before anything is written. Tokens that callers
    have stay valid. The previous document is kept until the next migration or --back.
    """
    if (org is None) != every or (to is None) != back or (back and every):
        raise CommandError("Give ORG with --to FILE or --back, or --all with --to FOLDER.", USAGE)
    if every and (client_id or private_key or passphrase_file):
        raise CommandError("--client-id, --private-key and --passphrase-file are for one org, not for --all.", USAGE)
    if back:
        ref = named_credential(org or "", credential)
        results = with_tools(lambda tools: _go_back(tools, ref))
    else:
        options = read_options(org, client_id, private_key, passphrase_file, None, ims_base_url)
        inputs = _inputs(to or Path(), credential, options)
        order = _Order(inputs, dry_run, accept_loss, parse_duration("--watch", watch))
        results = with_tools(lambda tools: _migrate_all(tools, order, parallel, as_json))
    failed = any(result.status is Status.FAILED for result in results)
    if as_json:
        typer.echo(json.dumps({"ok": not failed, "results": [_as_json(result) for result in results]}))
    elif back:
        for result in results:
            _print(result)
    if failed:
        raise typer.Exit(FAILED)


def _inputs(to: Path, credential: str, options: ImportOptions) -> tuple[ImportInput, ...]:
    org = options.org
    if org is None:
        files = sorted(to.glob("*.json")) if to.is_dir() else []
        if not files:
            raise CommandError(f"{to} is not a folder with .json files.", USAGE)
    else:
        files = [to]
    name = named_credential(org or "0" * 24 + "@AdobeOrg", credential).name
    return tuple(read_import(file, name, options) for file in files)


async def _migrate_all(tools: CredentialTools, order: _Order, parallel: int, as_json: bool) -> list[Migrated]:
    from app.lifecycle.in_parallel import in_parallel
    from app.lifecycle.migration import Migration

    migration = Migration(tools.documents, tools.canary)

    async def one(given: ImportInput) -> Migrated:
        return await _migrate(migration, given, order)

    with bulk_progress(len(order.inputs)) as show:

        def heard(result: Migrated) -> None:
            show(result.status)
            if not as_json:
                _print(result)

        return await in_parallel(order.inputs, one, parallel, heard)


async def _migrate(migration: Migration, given: ImportInput, order: _Order) -> Migrated:
    from app.domain.adobe_import import ImportFileError
    from app.domain.errors import BrokerError
    from app.lifecycle.migration import MigrationError

    comparison = None
    try:
        if order.dry_run:
            return Migrated(given.ref, Status.COMPARED, await migration.compare(given))
        comparison = await migration.switch(given, accept_loss=order.accept_loss)
        await migration.watch(given.ref, order.watch)
    except MigrationError as error:
        return Migrated(given.ref, Status.FAILED, error.comparison or comparison, operator_sentence(error))
    except ImportFileError as error:
        return Migrated(given.ref, Status.FAILED, None, f"The file {error}.")
    except BrokerError as error:
        return Migrated(given.ref, Status.FAILED, comparison, operator_sentence(error))
    return Migrated(given.ref, Status.MIGRATED, comparison)


async def _go_back(tools: CredentialTools, ref: CredentialRef) -> list[Migrated]:
    from app.lifecycle.migration import Migration

    return [Migrated(ref, Status.BACK, await Migration(tools.documents, tools.canary).go_back(ref))]


def _print(result: Migrated) -> None:
    kinds = "" if result.comparison is None else f" ({result.comparison.before} to {result.comparison.after})"
    typer.echo(f"{name_of(result.ref)}: {result.status}{kinds}", err=result.status is Status.FAILED)
    for line in _lines(result):
        typer.echo(f"  {line}", err=result.status is Status.FAILED)


def _lines(result: Migrated) -> Iterator[str]:
    differences = () if result.comparison is None else result.comparison.differences
    for difference in differences:
        loss = " (callers may miss this)" if difference.is_loss else ""
        yield f"{difference.what}: {difference.before or 'none'} -> {difference.after or 'none'}{loss}"
    for change in () if result.comparison is None else result.comparison.changes:
        yield f"document: {change.field}: {change.before or 'none'} -> {change.after or 'none'}"
    if result.detail is not None:
        yield result.detail
    if result.status is Status.MIGRATED:
        yield f"go back with: ims-token-broker org migrate {result.ref.org} --credential {result.ref.name} --back"


def _as_json(result: Migrated) -> dict[str, object]:
    comparison = result.comparison
    return {
        "org": result.ref.org,
        "credential": result.ref.name,
        "status": result.status,
        "before": None if comparison is None else comparison.before,
        "after": None if comparison is None else comparison.after,
        "differences": [
            {"what": each.what, "before": each.before, "after": each.after, "is_loss": each.is_loss}
            for each in (() if comparison is None else comparison.differences)
        ],
        "changes": [
            {"field": each.field, "before": each.before, "after": each.after}
            for each in (() if comparison is None else comparison.changes)
        ],
        "detail": result.detail,
    }
