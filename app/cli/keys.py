"""``keys``: the key ring that encrypts cached tokens in Redis."""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path
from typing import Annotated

import typer

from app.cli.failure import FAILED, USAGE, CommandError
from app.cli.keys_life import retire_key, rotate_keys
from app.cli.new_file import write_new_file

app = typer.Typer(name="keys", help="Keys that encrypt the cached tokens in Redis.", rich_markup_mode=None)


@app.command("create")
def create(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="File to write, with mode 0600. Default: standard output.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With FILE: report what was written as JSON.")] = False,
) -> None:
    """Make a key ring for BROKER_CACHE_KEYS_FILE. An existing file is never overwritten."""
    from app.shared_cache.key_ring import new_key_ring

    key_id = f"k{secrets.token_hex(4)}"
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    ring = new_key_ring(secrets.token_bytes, key_id, created)
    if file is None or str(file) == "-":
        typer.echo(ring, nl=False)
        return
    write_new_file(file, ring)
    if as_json:
        typer.echo(json.dumps({"file": str(file), "id": key_id, "created": created}))
    else:
        typer.echo(f"Wrote {file} with one new key. Set BROKER_CACHE_KEYS_FILE to it, the same file for all replicas.")


@app.command("check")
def check(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", envvar="BROKER_CACHE_KEYS_FILE", help="The key ring.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Validate a key ring exactly as the broker does, without showing a key.

    Exit status 0: valid; 1: not; 2: there is no file.
    """
    from app.shared_cache.key_ring import KeyRingError, UnreadableKeyRingError, load_key_ring

    if file is None:
        raise CommandError(
            "No key ring: give FILE, or set BROKER_CACHE_KEYS_FILE. Try 'ims-token-broker keys check --help'.", USAGE
        )
    try:
        ring = load_key_ring(file)
    except KeyRingError as error:
        status = USAGE if isinstance(error, UnreadableKeyRingError) else FAILED
        if as_json:
            typer.echo(json.dumps({"valid": False, "place": error.place, "expected": error.expected}))
            raise typer.Exit(status) from None
        raise CommandError(f"{file}: {error}.", status) from None
    if as_json:
        typer.echo(json.dumps({"valid": True, "keys": ring.ids, "sealing": ring.sealing_id}))
    else:
        count = f"{len(ring.ids)} key{'' if len(ring.ids) == 1 else 's'}"
        typer.echo(f"{file}: valid: {count}, {ring.sealing_id} encrypts")


app.command("rotate")(rotate_keys)
app.command("retire")(retire_key)
