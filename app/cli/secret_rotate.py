"""The work of ``secret rotate``: assembles the rotation, shows its progress, and prints what came of it."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from app.cli.bulk_progress import bulk_progress
from app.cli.failure import USAGE, CommandError
from app.cli.org_options import name_of, named_credential
from app.cli.with_tools import with_tools
from app.domain.errors import BrokerError
from app.domain.names import CredentialRef
from app.domain.rfc3339 import rfc3339
from app.domain.secret_rotation_state import ConsoleIds
from app.domain.stored_document import credential_path
from app.hosts import is_https_or_loopback
from app.lifecycle.guided_rotation import GuidedRotation
from app.lifecycle.rotate_many import Failed, Outcome, rotate_many
from app.lifecycle.rotation_progress import NotDue, Rotated, RotationRules, Waiting
from app.lifecycle.secret_rotation import SecretRotation
from app.process.regular_file import FileError, read_text

if TYPE_CHECKING:
    from app.bootstrap.credential_tools import CredentialTools

_MAX_SECRET_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command. Durations are in seconds.

    Args:
        org: The IMS org id as it was given; None for all.
        credential: The name as it was given.
        quiet_for: As of `RotationRules`.
        older_than: As of `RotationRules`.
        jitter: The most seconds to wait before the beginning.
        at_once: As of `RotationRules`.
        wait: Whether to stay until no rotation has to wait.
        parallel: Rotations at a time.
        console_url: Where Adobe's secrets API is.
        console_ids: ``project.org.id`` and the credential's ``id``; None for those of the document.

    """

    org: str | None
    credential: str
    quiet_for: float
    older_than: float
    jitter: float
    at_once: bool
    wait: bool
    parallel: int
    console_url: str
    console_ids: tuple[str | None, str | None]


def rotate_secrets(options: Options, as_json: bool) -> bool:
    """Rotate through Adobe's API, print each outcome, and return whether none failed.

    Raises:
        CommandError: An option or a variable is wrong.

    """
    if not is_https_or_loopback(options.console_url):
        raise CommandError("--console-url must be a base URL: https, or http for loopback only.", USAGE)
    ids, only = (
        _ids(options.console_ids),
        None if options.org is None else named_credential(options.org, options.credential),
    )

    async def work(tools: CredentialTools) -> list[Outcome]:
        await asyncio.sleep(random.uniform(0, options.jitter))  # noqa: S311  # spreads load, guards nothing
        refs = await _refs_with_ids(tools) if only is None else (only,)
        async with tools.secrets_api(options.console_url) as api:
            rules = RotationRules(options.quiet_for, options.older_than, at_once=options.at_once)
            run = secrets.token_hex(8)
            rotation = SecretRotation(tools.documents, tools.canary, api, time.time, run, rules)
            return await _show_rotating(refs, rotation, ids, options, as_json)

    outcomes = with_tools(work)
    if as_json:
        typer.echo(json.dumps({"results": [_as_json(outcome) for outcome in outcomes]}))
    elif not outcomes:
        typer.echo("No document has console_org_id and console_credential_id; there is nothing to rotate.", err=True)
    return not any(isinstance(outcome, Failed) for outcome in outcomes)


def rotate_by_hand(options: Options, new_secret_file: Path | None, as_json: bool) -> None:
    """Do one half of a rotation by hand.

    Raises:
        CommandError: An option, a variable or the file is wrong, or the work failed.

    """
    ref = named_credential(options.org or "", options.credential)
    secret = None if new_secret_file is None else _new_secret(new_secret_file)

    async def work(tools: CredentialTools) -> None:
        rotation = GuidedRotation(tools.documents, tools.canary)
        await (rotation.finish(ref) if secret is None else rotation.add(ref, secret))

    with_tools(work)
    step = "finished" if secret is None else "written"
    if as_json:
        typer.echo(json.dumps({"results": [{"org": ref.org, "credential": ref.name, "status": step}]}))
    elif secret is None:
        typer.echo(f"{name_of(ref)}: the document has the new secret alone. Delete the old one in Adobe's console now.")
    else:
        typer.echo(
            f"{name_of(ref)}: the new secret works, and is written in front of the old one. When Adobe's console shows"
            " that no one uses the old one any more, run the same command with --finish."
        )


async def _show_rotating(
    refs: Sequence[CredentialRef], rotation: SecretRotation, ids: ConsoleIds | None, options: Options, as_json: bool
) -> list[Outcome]:
    done = set[CredentialRef]()
    with bulk_progress(len(refs)) as show:

        def heard(outcome: Outcome) -> None:
            if outcome.ref not in done:
                done.add(outcome.ref)
                show(str(_as_json(outcome)["status"]))
            if not as_json:
                typer.echo(_sentence(outcome), err=isinstance(outcome, Failed))

        advance = partial(rotation.advance, ids=ids)
        return await rotate_many(refs, advance, heard, time.time, parallel=options.parallel, wait=options.wait)


async def _refs_with_ids(tools: CredentialTools) -> tuple[CredentialRef, ...]:
    """The credentials whose documents have the console's ids. A defective document is reported by its rotation."""
    found = []
    for ref in await tools.store.refs():
        try:
            stored = await tools.documents.read(credential_path(ref))
            if stored is not None and "app" not in stored.content and ConsoleIds.of(stored.content) is not None:
                found.append(ref)
        except BrokerError:
            found.append(ref)
    return tuple(found)


def _ids(given: tuple[str | None, str | None]) -> ConsoleIds | None:
    org, credential = given
    if org is None and credential is None:
        return None
    try:
        return ConsoleIds(org or "", credential or "")
    except ValueError as error:
        raise CommandError(f"--console-org and --console-credential {error}.", USAGE) from None


def _new_secret(file: Path) -> str:
    if str(file) == "-":
        secret = sys.stdin.readline(_MAX_SECRET_BYTES).rstrip("\r\n")
    else:
        try:
            secret = read_text(file, _MAX_SECRET_BYTES)
        except FileError as error:
            raise CommandError(f"{error}.", USAGE) from None
    if not secret or any(character.isspace() for character in secret):
        raise CommandError("--new-secret-file must hold one client secret and nothing else.", USAGE)
    return secret


def _sentence(outcome: Outcome) -> str:
    match outcome:
        case Rotated():
            return f"{name_of(outcome.ref)}: rotated; the new secret is in use, and the old one is deleted."
        case Waiting():
            return f"{name_of(outcome.ref)}: waiting until {rfc3339(outcome.until)}, because {outcome.reason}."
        case NotDue():
            return f"{name_of(outcome.ref)}: not due; its secret is of {rfc3339(outcome.created_at)}."
        case Failed():
            return f"{name_of(outcome.ref)}: failed: {outcome.error.detail}"


def _as_json(outcome: Outcome) -> dict[str, object]:
    named = {"org": outcome.ref.org, "credential": outcome.ref.name}
    match outcome:
        case Rotated():
            return {**named, "status": "rotated", "new": outcome.new, "deleted": outcome.deleted}
        case Waiting():
            return {**named, "status": "waiting", "until": rfc3339(outcome.until), "reason": outcome.reason}
        case NotDue():
            return {**named, "status": "not_due", "created_at": rfc3339(outcome.created_at)}
        case Failed():
            return {**named, "status": "failed", "code": outcome.error.code, "detail": outcome.error.detail}
