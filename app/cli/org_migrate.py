"""``org migrate``: from one kind of credential to another in place, compared before and watched after."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.bulk_progress import bulk_progress
from app.cli.durations import parse_duration
from app.cli.failure import FAILED, USAGE, CommandError
from app.cli.org_options import CredentialOption, name_of, named_credential
from app.cli.policy_input import JsonOption
from app.cli.with_tools import with_tools

if TYPE_CHECKING:
    from app.bootstrap.credential_tools import CredentialTools
    from app.domain.import_file import ImportInput
    from app.domain.names import CredentialRef
    from app.lifecycle.migration import Comparison, Migration

_WATCH_PAUSE = 10.0
"""Seconds between two exchanges of a migration that is watched."""


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
    back: Annotated[bool, typer.Option("--back", help="Go back to the document from before the migration.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Mint both tokens and compare them, but do not write.")
    ] = False,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Migrate even if the new token lacks something.")
    ] = False,
    watch: Annotated[
        str, typer.Option(metavar="DURATION", help="Go on exchanging for this time, and go back if IMS refuses.")
    ] = "0s",
    parallel: Annotated[int, typer.Option(metavar="N", min=1, max=64, help="With --all: migrations at a time.")] = 4,
    as_json: JsonOption = False,
) -> None:
    """Change a credential's kind in place, such as from JWT to OAuth Server-to-Server, and back with --back.

    Both tokens are minted and compared, and the differences are shown before anything is written. Tokens that callers
    have stay valid. The document from before is kept until the next migration or --back.
    """
    if (org is None) != every or (to is None) != back or (back and every):
        raise CommandError("Give ORG with --to FILE or --back, or --all with --to FOLDER.", USAGE)
    if back:
        ref = named_credential(org or "", credential)
        results = with_tools(lambda tools: _go_back(tools, ref))
    else:
        inputs = _inputs(to or Path(), org, credential)
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


def _inputs(to: Path, org: str | None, credential: str) -> tuple[ImportInput, ...]:
    from app.cli.import_input import read_import, read_options

    if org is None:
        files = sorted(to.glob("*.json")) if to.is_dir() else []
        if not files:
            raise CommandError(f"{to} is not a folder with .json files.", USAGE)
    else:
        files = [to]
    name = named_credential(org or "0" * 24 + "@AdobeOrg", credential).name
    options = read_options(org, None, None, None, None, None)
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
    from app.domain.errors import BrokerError

    comparison = None
    try:
        comparison = await migration.compare(given.ref, given.document)
        if order.dry_run:
            return Migrated(given.ref, Status.COMPARED, comparison)
        await migration.switch(given.ref, given.document, accept_loss=order.accept_loss)
        await _watch(migration, given.ref, order.watch)
    except BrokerError as error:
        return Migrated(given.ref, Status.FAILED, comparison, error.detail)
    return Migrated(given.ref, Status.MIGRATED, comparison)


async def _watch(migration: Migration, ref: CredentialRef, seconds: float) -> None:
    """Exchange again and again; if IMS refuses the new credential, go back and raise its error."""
    from app.domain.tenant_errors import TenantError

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.sleep(min(_WATCH_PAUSE, max(0.0, end - time.monotonic())))
        try:
            await migration.prove(ref)
        except TenantError:
            await migration.go_back(ref)
            raise


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
        "detail": result.detail,
    }
