"""What commands about a credential share: its names on the command line and in a sentence."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.failure import USAGE, CommandError
from app.domain.errors import InvalidRequestError
from app.domain.names import DEFAULT_CREDENTIAL, CredentialRef, parse_credential_name, parse_org

CredentialOption = Annotated[str, typer.Option("--credential", metavar="NAME", help="Name of the org's credential.")]


def named_credential(org: str, credential: str) -> CredentialRef:
    """The credential that the command line names.

    Raises:
        CommandError: A name is malformed.

    """
    try:
        return CredentialRef(parse_org(org), parse_credential_name(credential))
    except InvalidRequestError as error:
        raise CommandError(error.detail, USAGE) from None


def name_of(ref: CredentialRef) -> str:
    """A credential in a sentence: its org, and its name unless that is the usual one."""
    return ref.org if ref.name == DEFAULT_CREDENTIAL else f"{ref.org} {ref.name}"


def arguments_of(ref: CredentialRef) -> str:
    """A credential as the arguments of a command: its org, and its name unless that is the usual one."""
    return ref.org if ref.name == DEFAULT_CREDENTIAL else f"{ref.org} --credential {ref.name}"
