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
    app_name: Annotated[
        str | None, typer.Option("--app", metavar="NAME", help="Rotate the secret of this app, which many orgs use.")
    ] = None,
    prove_with: Annotated[
        str | None,
        typer.Option(metavar="ORG", help="With --app: the org with which the secret is tested; any org that uses it."),
    ] = None,
    all_orgs: Annotated[
        bool, typer.Option("--all", help="All credentials and apps whose documents have the console's ids.")
    ] = False,
    quiet_for: Annotated[
        str, typer.Option(metavar="DURATION", help="Delete the old secret once it has not been used for this time.")
    ] = "1h",
    older_than: Annotated[
        str, typer.Option(metavar="DURATION", help="Skip secrets younger than this. With --all usually 30d or more.")
    ] = "0s",
    now: Annotated[
        bool, typer.Option("--now", help="Do not wait, for example after a leak. The new secret is still tested.")
    ] = False,
    wait: Annotated[
        bool,
        typer.Option("--wait/--no-wait", help="Wait until the old secret is deleted, or leave that to a later run."),
    ] = True,
    jitter: Annotated[
        str, typer.Option(metavar="DURATION", help="Start after a random delay of up to this time.")
    ] = "0s",
    parallel: Annotated[
        int, typer.Option(metavar="N", min=1, max=64, help="Number of rotations at the same time.")
    ] = 4,
    console_url: Annotated[str, typer.Option(metavar="URL", help="URL of Adobe's secrets API.")] = DEFAULT_CONSOLE_URL,
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
    discard: Annotated[
        bool, typer.Option("--discard", help="Discard a rotation whose new secret is not in use.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Replace a client secret without a failed request.

    Adds a second secret through Adobe's API, tests it with a real exchange, and writes it before the old one. Deletes
    the old one when no one has used it for --quiet-for. Needs the variables of ``serve`` and a login with write
    access. If a run is interrupted, the next one finishes it.
    """
    from app.cli import secret_rotate

    if [org is not None, app_name is not None, all_orgs].count(True) != 1:
        raise CommandError("Give either ORG, --app NAME or --all.", USAGE)
    if prove_with is not None and app_name is None:
        raise CommandError("--prove-with is for --app.", USAGE)
    halves = [new_secret_file is not None, finish, discard].count(True)
    if halves > 1 or (halves and all_orgs):
        raise CommandError("Give ORG or --app, and one of --new-secret-file, --finish and --discard.", USAGE)
    options = secret_rotate.Options(
        org=org,
        credential=credential,
        app=app_name,
        prove_with=prove_with,
        quiet_for=parse_duration("--quiet-for", quiet_for),
        older_than=parse_duration("--older-than", older_than),
        jitter=0.0 if now else parse_duration("--jitter", jitter),
        at_once=now,
        wait=wait,
        parallel=parallel,
        console_url=console_url,
        console_ids=(console_org, console_credential),
    )
    if discard:
        secret_rotate.forget_rotation(options, as_json)
    elif halves:
        secret_rotate.rotate_by_hand(options, new_secret_file, as_json)
    elif not secret_rotate.rotate_secrets(options, as_json):
        raise typer.Exit(FAILED)
