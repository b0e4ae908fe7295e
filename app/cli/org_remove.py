"""``org remove``: take a credential out of the store, and say what is left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.failure import FAILED, USAGE, CommandError
from app.cli.org_options import CredentialOption, named_credential
from app.cli.policy_input import JsonOption
from app.cli.questions import is_terminal, typed
from app.cli.with_tools import with_tools
from app.domain.names import DEFAULT_CREDENTIAL

if TYPE_CHECKING:
    from app.bootstrap.credential_tools import CredentialTools
    from app.domain.names import CredentialRef
    from app.domain.stored_document import Version


def remove_org(
    org: Annotated[str, typer.Argument(metavar="ORG", help="The IMS org id.", show_default=False)],
    credential: CredentialOption = DEFAULT_CREDENTIAL,
    destroy: Annotated[
        bool, typer.Option("--destroy", help="Also destroy all older versions in Vault; this cannot be undone.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for the org id.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove a credential from the store.

    On a terminal it asks for the org id; otherwise it needs --yes. The credential at Adobe stays, and tokens that the
    broker has cached are served until they expire or are purged.
    """
    ref = named_credential(org, credential)

    async def work(tools: CredentialTools) -> Version:
        from app.domain.tenant_errors import CredentialNotFoundError
        from app.lifecycle.remove_credential import remove_credential, stored_version

        try:
            version = await stored_version(tools.documents, ref)
        except CredentialNotFoundError:
            raise CommandError(f"Nothing is stored for {ref.org}, credential {ref.name}.", FAILED) from None
        if not yes:
            _ask(ref, version)
        await remove_credential(tools.documents, ref, version, destroy=destroy)
        return version

    version = with_tools(work)
    undo = None if destroy else _undo(ref, version)
    if as_json:
        answer = {"org": ref.org, "credential": ref.name, "version": version, "destroyed": destroy, "undo": undo}
        typer.echo(json.dumps(answer))
        return
    typer.echo(f"Removed {ref.org}, credential {ref.name} (version {version}).")
    for line in _remains(ref, undo):
        typer.echo(line)


def _ask(ref: CredentialRef, version: Version) -> None:
    """Let a person type the org id.

    Raises:
        CommandError: There is no terminal, or they typed something else.

    """
    if not is_terminal():
        raise CommandError("Nothing was removed: there is no terminal to ask on; give --yes.", USAGE)
    typer.echo(f"Credential {ref.name} of {ref.org} is stored in version {version}.", err=True)
    if typed("Type the org id to remove it") != ref.org:
        raise CommandError("That is not the org id, so nothing was removed.", FAILED)


def _undo(ref: CredentialRef, version: Version) -> str | None:
    """The command line that brings the document back; None if nothing does."""
    from app.settings.settings import read_minting_settings

    settings = read_minting_settings()
    if settings.credential_store != "vault" or settings.vault_kv_version != 2:
        return None
    path = "/".join((settings.vault_prefix.strip("/"), ref.org, ref.name)).lstrip("/")
    return f"vault kv undelete -mount={settings.vault_mount.strip('/')} -versions={version} {path}"


def _remains(ref: CredentialRef, undo: str | None) -> Iterator[str]:
    yield "What remains:"
    yield (
        "  Tokens in the broker's memory and in Redis are served until they end, unless they are purged: "
        f"ims-token-broker purge --org {ref.org} --credential {ref.name}, as a caller with the action purge."
    )
    yield "  Tokens that callers have, and the credential itself, until you remove it in Adobe's console."
    yield "  The org in the rules of the policy."
    yield (
        "Nothing remains of the document; only a backup can restore it."
        if undo is None
        else f"  The document's versions in Vault: {undo}"
    )
