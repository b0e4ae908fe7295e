"""``org list``: what the credential store has, as the broker reads it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.bulk_progress import bulk_progress
from app.cli.policy_input import JsonOption
from app.cli.tables import table_console, table_of_orgs
from app.cli.with_tools import with_tools

if TYPE_CHECKING:
    from app.bootstrap.credential_tools import CredentialTools
    from app.lifecycle.checkup import Checkup

_DAY = 86400.0
_READS_AT_ONCE = 4


def list_orgs(
    parallel: Annotated[
        int, typer.Option(metavar="N", min=1, max=64, help="Documents to read at a time.")
    ] = _READS_AT_ONCE,
    as_json: JsonOption = False,
) -> None:
    """List the credentials of all orgs, and which documents are defective. No exchange is made.

    Uses the variables of ``serve``, with a login that may list.
    """

    async def work(tools: CredentialTools) -> list[Checkup]:
        from app.lifecycle.in_parallel import in_parallel

        refs = await tools.store.refs()
        with bulk_progress(len(refs)) as show:
            found = await in_parallel(
                refs, tools.checkups.read, parallel, lambda checkup: show("read" if checkup.ok else "defective")
            )
        return sorted(found, key=lambda checkup: checkup.ref)

    checkups = with_tools(work)
    if as_json:
        typer.echo(json.dumps({"credentials": [_as_json(checkup) for checkup in checkups]}))
    else:
        _print(checkups)


def _print(checkups: list[Checkup]) -> None:
    if not checkups:
        typer.echo("No credentials are stored. Add one with: ims-token-broker org import FILE", err=True)
        return
    table = table_of_orgs("CREDENTIAL", "KIND", "GENERATION", "CERTIFICATE", "PROBLEM")
    for checkup in checkups:
        credential = checkup.credential
        kind, generation = ("", "") if credential is None else (str(credential.kind), credential.generation)
        problem = "" if checkup.error is None else checkup.error.detail
        table.add_row(checkup.ref.org, checkup.ref.name, kind, generation, _days(checkup.certificate_ends), problem)
    table_console().print(table)


def _days(ends: float | None) -> str:
    if ends is None:
        return ""
    days = (ends - time.time()) / _DAY
    return f"{days:.0f} days" if days >= 0 else "expired"


def _as_json(checkup: Checkup) -> dict[str, object]:
    from app.domain.rfc3339 import rfc3339

    credential, ends, error = checkup.credential, checkup.certificate_ends, checkup.error
    return {
        "org": checkup.ref.org,
        "credential": checkup.ref.name,
        "kind": None if credential is None else credential.kind,
        "generation": None if credential is None else credential.generation,
        "client_id": None if credential is None else credential.client_id,
        "certificate_expires_at": None if ends is None else rfc3339(ends),
        "code": None if error is None else error.code,
        "detail": None if error is None else error.detail,
    }
