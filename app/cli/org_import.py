"""``org import``: from the file that Adobe hands out to a credential of the broker."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from app.cli.failure import USAGE, CommandError
from app.cli.import_input import ImportMode, read_options
from app.cli.import_items import is_bulk
from app.cli.org_import_many import import_many
from app.cli.org_import_one import import_one
from app.cli.policy_input import JsonOption


def import_org(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="The file downloaded from Adobe's console (JSON), or a folder.", show_default=False
        ),
    ],
    org: Annotated[str | None, typer.Option(metavar="ORG", help="The IMS org id, if the file has none.")] = None,
    credential: Annotated[str, typer.Option(metavar="NAME", help="Name of the org's credential.")] = "default",
    client_id: Annotated[
        str | None, typer.Option(metavar="ID", help="The credential to import, if the file has several.")
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
    transit: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Move the private key into Vault's transit engine, or use the key there."),
    ] = None,
    app: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the app whose client the org uses.")] = None,
    ims_base_url: Annotated[
        str | None, typer.Option(metavar="URL", help="The IMS host, in place of the file's, such as a sandbox.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do everything except the write.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Replace a different credential without asking.")] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="For many credentials: the report from which a run resumes.")
    ] = None,
    parallel: Annotated[
        int, typer.Option(metavar="NUMBER", min=1, max=64, help="For many credentials: how many at a time.")
    ] = 8,
    as_json: JsonOption = False,
) -> None:
    """Store the credential in a file from Adobe, after IMS has accepted it.

    The file is what the Adobe Developer Console or the AEM Developer Console lets you download, a context of aio, or a
    document of the broker. Each client secret is tested with a real exchange; nothing is written if IMS refuses one.
    A different credential that is already stored is replaced only with --yes, or after confirmation on a terminal.

    FILE can also be a folder with such files (NAME.json, with NAME.key, NAME.passphrase and NAME.crt next to it), or a
    file .jsonl with one credential per line. With --report, an interrupted run resumes where it stopped.
    """
    from app.domain.errors import InvalidRequestError
    from app.domain.import_options import ImportOptions
    from app.domain.key_move import ORG_PLACE
    from app.domain.names import parse_credential_name

    try:
        name = parse_credential_name(credential)
    except InvalidRequestError as error:
        raise CommandError(f"--{error.detail}", USAGE) from None
    options = read_options(org, client_id, private_key, passphrase_file, certificate, ims_base_url, transit, app)
    if app is not None and (transit is not None or options.signs):
        raise CommandError("An app has a client secret and signs nothing: give --app without a key.", USAGE)
    mode = ImportMode(dry_run, yes, as_json)
    if is_bulk(file):
        if options != ImportOptions(ims_base_url=ims_base_url, transit_key=transit, app=app):
            raise CommandError(
                "A folder or a .jsonl file takes none of --org, --client-id, --private-key, --passphrase-file and"
                " --certificate: put keys next to the files, as docs/credentials.md says.",
                USAGE,
            )
        if transit is not None and ORG_PLACE not in transit:
            raise CommandError(f"For many credentials --transit must have {ORG_PLACE}, which is the org's id.", USAGE)
        import_many(file, name, replace(options, many=True), mode, report, parallel)
    elif report is not None:
        raise CommandError("--report is for a folder or a .jsonl file.", USAGE)
    else:
        import_one(file, name, options, mode)
