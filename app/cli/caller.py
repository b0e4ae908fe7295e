"""``caller``: new callers of the broker."""

from __future__ import annotations

import json
import re
import secrets
from typing import Annotated

import typer

from app.cli.failure import USAGE, CommandError
from app.domain.names import EXAMPLE_ORG

app = typer.Typer(name="caller", help="Callers: the internal services that request tokens.", rich_markup_mode=None)


@app.callback()
def _caller() -> None:
    """Keep ``create`` a subcommand while it is the only one."""


@app.command("create")
def create(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="The caller's name in the policy, audit log and metrics.", show_default=False
        ),
    ],
    orgs: Annotated[
        list[str] | None,
        typer.Option("--org", metavar="ORG", help='An IMS org it may get tokens for; repeatable; or "*" for all.'),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Make an API key and its policy lines.

    The key is shown only this once.
    """
    from app.domain.api_key import SECRET_BYTES, api_key_sha256, new_api_key

    # Checked first, because the key's id is made from the name.
    policy_lines(name, "0" * 64, orgs)
    api_key = new_api_key(key_id(name), secrets.token_bytes(SECRET_BYTES))
    digest = api_key_sha256(api_key)
    lines = policy_lines(name, digest, orgs)
    if as_json:
        typer.echo(json.dumps({"name": name, "api_key": api_key, "api_key_sha256": digest, "policy": lines}))
        return
    typer.echo(f"API key of {name}. It is shown only once: give it to the caller, keep no copy.\n\n{api_key}\n")
    typer.echo(f"Paste this below `callers:` in the policy file:\n\n{lines}")
    if not orgs:
        typer.echo(f"{EXAMPLE_ORG} is an example: name the caller's own orgs.")
    typer.echo("A new policy file begins with the lines `version: 1` and `callers:`.")
    typer.echo("Then run: ims-token-broker policy check FILE")


def key_id(name: str) -> str:
    """The readable id of a caller's API key: the letters and digits of the caller's name."""
    return re.sub(r"[^A-Za-z0-9]", "", name)[:32]


def policy_lines(name: str, digest: str, orgs: list[str] | None) -> str:
    """The entry for the policy's ``callers`` list, with its indentation.

    Args:
        name: The caller's name.
        digest: Hex SHA-256 of its API key.
        orgs: The orgs it may get tokens for; if empty, an example org that does not exist.

    Raises:
        CommandError: The name or an org is malformed.

    """
    from app.adapters.policy_file import decode_policy
    from app.domain.plain_document import PolicyError
    from app.domain.policy_document import parse_policy

    if orgs and not all(org.strip() for org in orgs):
        raise CommandError("--org: must not be blank.", USAGE)  # In a policy a blank org is valid, and no org.
    listed = ", ".join(json.dumps(org) for org in orgs or [EXAMPLE_ORG])
    lines = (
        f"  - name: {json.dumps(name)}\n"
        f'    match: {{api_key_sha256: ["{digest}"]}}\n'
        f"    allow:\n"
        f"      - orgs: [{listed}]\n"
    )
    try:
        parse_policy(decode_policy(f"version: 1\ncallers:\n{lines}".encode(errors="replace")), "")
    except PolicyError as error:
        place = "--org" if ".orgs" in error.place else "NAME"
        raise CommandError(f"{place}: {error.expected}.", USAGE) from None
    return lines
