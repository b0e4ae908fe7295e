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
from app.cli.org_options import named_credential
from app.cli.rotation_words import owner_members, owner_name, rotation_members, rotation_sentence
from app.cli.with_tools import with_tools
from app.domain.app_document import AppName, app_of
from app.domain.secret_owner import SecretOwner
from app.domain.secret_rotation_state import ConsoleIds
from app.domain.tenant_errors import CredentialMisconfiguredError
from app.hosts import is_https_or_loopback
from app.lifecycle.discard_rotation import discard_rotation
from app.lifecycle.find_owners import owners_with_ids, user_of_app
from app.lifecycle.guided_rotation import GuidedRotation
from app.lifecycle.rotate_many import Failed, Outcome, rotate_many
from app.lifecycle.rotation_progress import RotationRules
from app.lifecycle.secret_rotation import SecretRotation
from app.process.regular_file import FileError, read_text

if TYPE_CHECKING:
    from app.bootstrap.credential_tools import CredentialTools

_MAX_SECRET_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command. Durations are in seconds.

    Args:
        org: The IMS org id as it was given; None for an app or for all.
        credential: The name as it was given.
        app: The name of an app as it was given; None for an org or for all.
        prove_with: The IMS org id, as it was given, of an org that uses the app; None for any.
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
    app: str | None
    prove_with: str | None
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
    ids = _ids(options.console_ids)
    _refuse_malformed(options)

    async def work(tools: CredentialTools) -> list[Outcome]:
        await asyncio.sleep(random.uniform(0, options.jitter))  # noqa: S311  # spreads load, guards nothing
        if options.org is None and options.app is None:
            owners = await owners_with_ids(tools.store, tools.documents)
        else:
            owners = [await _owner(tools, options)]
        async with tools.secrets_api(options.console_url) as api:
            rules = RotationRules(options.quiet_for, options.older_than, at_once=options.at_once)
            run = secrets.token_hex(8)
            rotation = SecretRotation(tools.documents, tools.canary, api, time.time, run, rules)
            return await _show_rotating(owners, rotation, ids, options, as_json)

    outcomes = with_tools(work)
    if as_json:
        typer.echo(json.dumps({"results": [rotation_members(outcome) for outcome in outcomes]}))
    elif not outcomes:
        typer.echo(
            "No document of an org or app has console_org_id and console_credential_id; there is nothing to rotate.",
            err=True,
        )
    return not any(isinstance(outcome, Failed) for outcome in outcomes)


def rotate_by_hand(options: Options, new_secret_file: Path | None, as_json: bool) -> None:
    """Do one half of a rotation by hand.

    Raises:
        CommandError: An option, a variable or the file is wrong, or the work failed.

    """
    _refuse_malformed(options)
    secret = None if new_secret_file is None else _new_secret(new_secret_file)

    async def work(tools: CredentialTools) -> SecretOwner:
        owner = await _owner(tools, options)
        rotation = GuidedRotation(tools.documents, tools.canary)
        await (rotation.finish(owner) if secret is None else rotation.add(owner, secret))
        return owner

    owner = with_tools(work)
    if secret is None:
        sentence = "the document has the new secret alone. Delete the old one in Adobe's console now."
    else:
        sentence = (
            "the new secret works, and is written in front of the old one. When Adobe's console shows that no one uses"
            " the old one any more, run the same command with --finish."
        )
    _say(owner, "finished" if secret is None else "written", sentence, as_json)


def forget_rotation(options: Options, as_json: bool) -> None:
    """Forget a rotation that cannot go on.

    Raises:
        CommandError: An option or a variable is wrong, or the new secret is in use.

    """
    _refuse_malformed(options)

    async def work(tools: CredentialTools) -> SecretOwner:
        owner = await _owner(tools, options)
        await discard_rotation(tools.documents, tools.canary, owner)
        return owner

    sentence = "the rotation is forgotten. If Adobe's console shows a second secret that no one uses, delete it there."
    _say(with_tools(work), "discarded", sentence, as_json)


def _say(owner: SecretOwner, status: str, sentence: str, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"results": [{**owner_members(owner), "status": status}]}))
    else:
        typer.echo(f"{owner_name(owner)}: {sentence}")


async def _show_rotating(
    owners: Sequence[SecretOwner], rotation: SecretRotation, ids: ConsoleIds | None, options: Options, as_json: bool
) -> list[Outcome]:
    done = set[SecretOwner]()
    with bulk_progress(len(owners)) as show:

        def heard(outcome: Outcome) -> None:
            if outcome.owner not in done:
                done.add(outcome.owner)
                show(str(rotation_members(outcome)["status"]))
            if not as_json:
                typer.echo(rotation_sentence(outcome), err=isinstance(outcome, Failed))

        advance = partial(rotation.advance, ids=ids)
        return await rotate_many(owners, advance, heard, time.time, parallel=options.parallel, wait=options.wait)


async def _owner(tools: CredentialTools, options: Options) -> SecretOwner:
    """Whose secret the options name."""
    app = _app(options.app)
    if app is None:
        return SecretOwner(named_credential(options.org or "", options.credential))
    if options.prove_with is None:
        return await user_of_app(tools.store, tools.documents, app)
    return SecretOwner(named_credential(options.prove_with, options.credential), app)


def _app(given: str | None) -> AppName | None:
    try:
        return app_of({"app": given})
    except CredentialMisconfiguredError as error:
        raise CommandError(f"--app {error.expected}.", USAGE) from None


def _refuse_malformed(options: Options) -> None:
    """Check the names before anything is asked.

    Raises:
        CommandError: One is malformed.

    """
    _app(options.app)
    for org in (options.org, options.prove_with):
        if org is not None:
            named_credential(org, options.credential)


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
