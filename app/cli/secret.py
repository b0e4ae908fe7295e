"""``secret``: client secrets, and how they are replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.durations import parse_duration
from app.cli.failure import FAILED, USAGE, CommandError
from app.domain.secret_rotation_state import DEFAULT_CONSOLE_URL

app = typer.Typer(name="secret", help="Client secrets of credentials.", rich_markup_mode=None)


@app.callback()
def _secret() -> None:
    """Keep ``rotate`` a subcommand while it is the only one."""


@app.command("rotate")
def rotate_secret(
    org: Annotated[str | None, typer.Argument(metavar="[ORG]", help="The IMS org id.", show_default=False)] = None,
    credential: Annotated[str, typer.Option(metavar="NAME", help="Name of the org's credential.")] = "default",
    all_orgs: Annotated[
        bool, typer.Option("--all", help="All credentials whose documents have the console's ids.")
    ] = False,
    quiet_for: Annotated[
        str, typer.Option(metavar="DURATION", help="Delete the old secret after this time without a use.")
    ] = "1h",
    older_than: Annotated[
        str, typer.Option(metavar="DURATION", help="Leave younger secrets alone. With --all usually 30d or more.")
    ] = "0s",
    now: Annotated[
        bool, typer.Option("--now", help="Wait for nothing, as after a leak; the new secret is proven all the same.")
    ] = False,
    wait: Annotated[
        bool,
        typer.Option("--wait/--no-wait", help="Stay until the old secret is deleted, or leave that to a later run."),
    ] = True,
    jitter: Annotated[str, typer.Option(metavar="DURATION", help="Begin after a random part of this time.")] = "0s",
    parallel: Annotated[int, typer.Option(metavar="N", min=1, max=64, help="Rotations at a time.")] = 4,
    console_url: Annotated[str, typer.Option(metavar="URL", help="Adobe's secrets API.")] = DEFAULT_CONSOLE_URL,
    console_org: Annotated[
        str | None, typer.Option(metavar="ID", help="project.org.id, if the document lacks console_org_id.")
    ] = None,
    console_credential: Annotated[
        str | None, typer.Option(metavar="ID", help="The credential's id, if the document lacks console_credential_id.")
    ] = None,
    new_secret_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Without the API: a secret that you added in the console; - reads standard input."
        ),
    ] = None,
    finish: Annotated[
        bool, typer.Option("--finish", help="Without the API, later: drop the old secret from the document.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as one line of JSON.")] = False,
) -> None:
    """Replace a client secret without a failed request.

    A second secret is added through Adobe's API, proven by a real exchange, and written in front of the old one. The
    old one is deleted when neither the broker nor anyone else has used it for --quiet-for. Needs the variables of
    ``serve`` and a login that may write. A run that was interrupted is finished by the next one.
    """
    from app.cli import secret_rotate

    if (org is None) != all_orgs:
        raise CommandError("Give either ORG or --all.", USAGE)
    by_hand = new_secret_file is not None or finish
    if by_hand and (all_orgs or (new_secret_file is not None and finish)):
        raise CommandError("Give ORG, and either --new-secret-file or --finish.", USAGE)
    options = secret_rotate.Options(
        org=org,
        credential=credential,
        quiet_for=parse_duration("--quiet-for", quiet_for),
        older_than=parse_duration("--older-than", older_than),
        jitter=0.0 if now else parse_duration("--jitter", jitter),
        at_once=now,
        wait=wait,
        parallel=parallel,
        console_url=console_url,
        console_ids=(console_org, console_credential),
    )
    if by_hand:
        secret_rotate.rotate_by_hand(options, new_secret_file, as_json)
    elif not secret_rotate.rotate_secrets(options, as_json):
        raise typer.Exit(FAILED)
