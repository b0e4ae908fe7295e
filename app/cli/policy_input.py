"""What the ``policy`` commands read: a policy file, and the names in the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.failure import USAGE, CommandError

if TYPE_CHECKING:
    from app.domain.policy import Policy

PolicyOption = Annotated[
    Path | None,
    typer.Option("--policy", metavar="FILE", envvar="BROKER_POLICY_FILE", help="The policy (YAML)."),
]
"""The option that names the policy of a command."""

JsonOption = Annotated[bool, typer.Option("--json", help="Print one line of JSON.")]


def read_policy_option(file: Path | None) -> Policy:
    """The policy in `file`.

    Raises:
        CommandError: No file is named, or it is missing, unreadable or bad.

    """
    if file is None:
        raise CommandError("No policy: give --policy FILE, or set BROKER_POLICY_FILE.", USAGE)
    return read_policy_file(file)


def read_policy_file(file: Path) -> Policy:
    """The policy in `file`.

    Raises:
        CommandError: It is missing, unreadable or bad.

    """
    from app.adapters.policy_file import read_policy
    from app.domain.plain_document import PolicyError

    try:
        return read_policy(file)
    except PolicyError as error:
        raise CommandError(f"{file}: {error}.", USAGE) from None
