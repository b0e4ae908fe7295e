"""``org check``: a real exchange with each secret of a credential, and what to do about what fails."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.bulk_progress import bulk_progress
from app.cli.failure import FAILED, USAGE, CommandError
from app.cli.operator_words import operator_sentence
from app.cli.org_options import CredentialOption, name_of, named_credential
from app.cli.policy_input import JsonOption
from app.cli.with_tools import with_tools

if TYPE_CHECKING:
    from app.bootstrap.credential_tools import CredentialTools
    from app.domain.names import CredentialRef
    from app.lifecycle.checkup import Checkup, ProbeCheck

_DAY = 86400.0
_SOON_DAYS = 30
"""Adobe mails about a certificate from this time before its end (docs/ims.md section 5)."""


def check_orgs(
    org: Annotated[str | None, typer.Argument(metavar="[ORG]", help="The IMS org id.", show_default=False)] = None,
    credential: CredentialOption = "default",
    every: Annotated[bool, typer.Option("--all", help="All credentials of all orgs.")] = False,
    probe: Annotated[
        str | None,
        typer.Option("--probe", metavar="URL", help="Also call this Adobe API once (GET) with the token."),
    ] = None,
    parallel: Annotated[int, typer.Option(metavar="N", min=1, max=64, help="With --all: checks at a time.")] = 8,
    as_json: JsonOption = False,
) -> None:
    """Make one real exchange with each client secret, and say what is wrong and what to do.

    Uses the variables of ``serve``. Writes nothing and shows no token. Exit status 0: no problem found; 1:
    something is wrong.
    """
    from app.domain.probe_answer import may_be_probed

    if (org is None) != every:
        raise CommandError("Give either ORG or --all.", USAGE)
    if probe is not None and not may_be_probed(probe):
        raise CommandError("--probe must be a URL of Adobe (https), or of this machine.", USAGE)
    only = None if org is None else named_credential(org, credential)

    async def work(tools: CredentialTools) -> list[Checkup]:
        return await _check_all(tools, (only,) if only else await tools.store.refs(), probe, parallel, as_json)

    checkups = with_tools(work)
    if as_json:
        body = {"ok": all(each.ok for each in checkups), "credentials": [_as_json(each) for each in checkups]}
        typer.echo(json.dumps(body))
    if not all(each.ok for each in checkups):
        raise typer.Exit(FAILED)


async def _check_all(
    tools: CredentialTools, refs: tuple[CredentialRef, ...], probe: str | None, parallel: int, as_json: bool
) -> list[Checkup]:
    from app.lifecycle.in_parallel import in_parallel

    with bulk_progress(len(refs)) as show:

        def heard(checkup: Checkup) -> None:
            show("ok" if checkup.ok else "failed")
            if not as_json:
                _print(checkup)

        return await in_parallel(refs, lambda ref: tools.checkups.check(ref, probe), parallel, heard)


def _print(checkup: Checkup) -> None:
    mark = "ok" if checkup.ok else "FAILED"
    kind = "" if checkup.credential is None else f", {checkup.credential.kind}, {checkup.credential.ims_base_url}"
    typer.echo(f"{name_of(checkup.ref)}: {mark}{kind}")
    for line in _lines(checkup):
        typer.echo(f"  {line}")


def _lines(checkup: Checkup) -> Iterator[str]:
    if checkup.error is not None:
        yield operator_sentence(checkup.error)
    for secret in checkup.secrets:
        which = "" if len(checkup.secrets) == 1 else f" with secret {secret.number} of {len(checkup.secrets)}"
        if secret.error is None and secret.lifetime is not None:
            yield f"exchange{which}: a token of {secret.lifetime / 3600:.1f} h"
        elif secret.error is not None:
            yield f"exchange{which}: {secret.error.detail}"
    yield from _certificate(checkup)
    if checkup.probe is not None:
        yield _probe(checkup.probe)


def _certificate(checkup: Checkup) -> Iterator[str]:
    if checkup.certificate_ends is None:
        return
    days = (checkup.certificate_ends - time.time()) / _DAY
    if days < 0:
        yield f"certificate: expired {-days:.0f} days ago; make another one with `cert rotate`"
    else:
        remedy = "; replace it with `cert rotate`" if days < _SOON_DAYS else ""
        yield f"certificate: {days:.0f} days left{remedy}"


def _probe(probe: ProbeCheck) -> str:
    if probe.unavailable is not None:
        return f"API: {probe.unavailable.detail}"
    if probe.error is None:
        return f"API: {probe.status}"
    code = "" if probe.error.code is None else f" {probe.error.code}"
    return f"API: {probe.error.status}{code}: {probe.error.cause}. {probe.error.remedy}"


def _as_json(checkup: Checkup) -> dict[str, object]:
    from app.domain.rfc3339 import rfc3339

    credential, error, ends = checkup.credential, checkup.error, checkup.certificate_ends
    return {
        "org": checkup.ref.org,
        "credential": checkup.ref.name,
        "ok": checkup.ok,
        "kind": None if credential is None else credential.kind,
        "generation": None if credential is None else credential.generation,
        "ims_base_url": None if credential is None else credential.ims_base_url,
        "code": None if error is None else error.code,
        "detail": None if error is None else operator_sentence(error),
        "certificate_expires_at": None if ends is None else rfc3339(ends),
        "exchanges": [
            {
                "secret": secret.number,
                "lifetime": None if secret.lifetime is None else round(secret.lifetime),
                "code": None if secret.error is None else secret.error.code,
                "detail": None if secret.error is None else secret.error.detail,
            }
            for secret in checkup.secrets
        ],
        "probe": None if checkup.probe is None else _probe_as_json(checkup.probe),
    }


def _probe_as_json(probe: ProbeCheck) -> dict[str, object]:
    error = probe.error
    return {
        "status": probe.status,
        "code": None if error is None else error.code,
        "cause": probe.unavailable.detail if probe.unavailable else None if error is None else error.cause,
        "remedy": None if error is None else error.remedy,
    }
