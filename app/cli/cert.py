"""``cert``: key pairs and certificates for Adobe's consoles."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Annotated

import typer

from app.cli.cert_check import check
from app.cli.cert_rotate import rotate_certificate
from app.cli.failure import USAGE, CommandError
from app.cli.new_file import write_new_file

# The file names that Adobe's documentation uses.
PRIVATE_KEY_FILE = "private.key"
CERTIFICATE_FILE = "certificate_pub.crt"

MAX_DAYS = 3650
_CLIENT_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

app = typer.Typer(name="cert", help="Key pairs and certificates of JWT credentials.", rich_markup_mode=None)

app.command("check")(check)
app.command("rotate")(rotate_certificate)


@app.command("create")
def create(
    out_dir: Annotated[Path, typer.Option("--out-dir", metavar="DIR", help="Folder to write to.", show_default=False)],
    org: Annotated[
        str | None, typer.Option(metavar="ORG", help="Use this IMS org id as the certificate's common name.")
    ] = None,
    client_id: Annotated[
        str | None, typer.Option(metavar="ID", help="Use this client id as the certificate's common name instead.")
    ] = None,
    days: Annotated[
        int, typer.Option(metavar="DAYS", min=1, max=MAX_DAYS, help="Days the certificate is valid.")
    ] = 365,
    bits: Annotated[int, typer.Option(metavar="BITS", min=2048, max=4096, help="Size of the RSA key.")] = 2048,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Make an RSA private key (PKCS#8, mode 0600) and a self-signed certificate to upload to Adobe."""
    common_name = _common_name(org, client_id)
    key_file, certificate_file = out_dir / PRIVATE_KEY_FILE, out_dir / CERTIFICATE_FILE
    _prepare(out_dir, (key_file, certificate_file))

    from app.cli.self_signed import new_key_pair

    pair = new_key_pair(common_name, time.time(), days=days, bits=bits)
    write_new_file(key_file, pair.private_key)
    try:
        write_new_file(certificate_file, pair.certificate)
    except CommandError:
        key_file.unlink()
        raise
    not_after = pair.not_after.strftime("%Y-%m-%dT%H:%M:%SZ")
    if as_json:
        files = {"private_key": str(key_file), "certificate": str(certificate_file)}
        typer.echo(json.dumps({"common_name": common_name, **files, "not_after": not_after}))
        return
    typer.echo(f"Private key: {key_file} (keep it secret)")
    typer.echo(f"Certificate: {certificate_file} (not after {not_after})")
    typer.echo(
        f"Next: upload {certificate_file} to the integration in Adobe's console,"
        f" then store its credential: ims-token-broker org import FILE --private-key {key_file}"
    )


def _common_name(org: str | None, client_id: str | None) -> str:
    """The name for the certificate.

    Raises:
        CommandError: Not exactly one of the two is given, or it is malformed.

    """
    from app.domain.errors import InvalidRequestError
    from app.domain.names import parse_org

    if (org is None) == (client_id is None):
        raise CommandError("Give either --org or --client-id.", USAGE)
    if client_id is not None:
        if _CLIENT_ID.fullmatch(client_id) is None:
            raise CommandError("--client-id must be 1 to 64 letters, digits, dots, hyphens or underscores.", USAGE)
        return client_id
    try:
        return parse_org(org or "")
    except InvalidRequestError as error:
        raise CommandError(f"--{error.detail}", USAGE) from None


def _prepare(out_dir: Path, files: tuple[Path, ...]) -> None:
    """Make the folder, and fail early if a file would be overwritten, because making a key takes a while.

    Raises:
        CommandError: The folder cannot be made, or a file exists.

    """
    try:
        out_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"{out_dir} cannot be used as a folder: {error.strerror}.", USAGE) from None
    for file in files:
        if file.exists():
            raise CommandError(f"{file} already exists; it is never overwritten.", USAGE)
