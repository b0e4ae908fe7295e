"""``probe``: shows from outside that a broker vends to those who may, and refuses those who may not."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from app.cli.broker_client import BrokerClient, read_api_key
from app.cli.broker_options import DEFAULT_URL, ApiKeyOption, CaOption, UrlOption
from app.cli.failure import FAILED, CommandError
from app.cli.org_options import CredentialOption, named_credential
from app.cli.policy_input import JsonOption
from app.domain.names import CredentialRef


@dataclass(frozen=True, slots=True)
class Probed:
    """One request and its answer.

    Args:
        check: ``vends``, ``refuses_forged`` or ``refuses_denied``.
        expected: The HTTP status that is right.
        seen: The HTTP status of the answer; None if there is none.
        error: Why there is no answer.

    """

    check: str
    expected: int
    seen: int | None
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the broker did what it must."""
        return self.seen == self.expected


def probe(
    org: Annotated[
        str, typer.Option("--org", metavar="ORG", help="An org that your key may have.", show_default=False)
    ],
    credential: CredentialOption = "default",
    denied_org: Annotated[
        str | None, typer.Option("--denied-org", metavar="ORG", help="An org that your key may not have.")
    ] = None,
    url: UrlOption = DEFAULT_URL,
    api_key_file: ApiKeyOption = None,
    ca_file: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a running broker from outside: it vends a token, and refuses a forged key and an org that is not allowed.

    No token is printed. Exit status 0: every answer is right; 1: at least one is not, which is named.
    """
    ref = named_credential(org, credential)
    denied = None if denied_org is None else named_credential(denied_org, credential)
    key = read_api_key(api_key_file)
    forged = f"itb_probe_{secrets.token_hex(32)}"
    real, fake = BrokerClient(url, key, ca_file), BrokerClient(url, forged, ca_file)
    results = list(_results(real, fake, ref, denied))
    failed = not all(result.ok for result in results)
    if as_json:
        checks = [{**asdict(result), "ok": result.ok} for result in results]
        typer.echo(json.dumps({"ok": not failed, "checks": checks}))
    else:
        for result in results:
            typer.echo(_line(result), err=not result.ok)
    if failed:
        raise typer.Exit(FAILED)


def _results(
    real: BrokerClient, fake: BrokerClient, ref: CredentialRef, denied: CredentialRef | None
) -> Iterator[Probed]:
    yield _probed("vends", real, ref, 200)
    yield _probed("refuses_forged", fake, ref, 401)
    if denied is not None:
        yield _probed("refuses_denied", real, denied, 403)


def _probed(check: str, client: BrokerClient, ref: CredentialRef, expected: int) -> Probed:
    try:
        return Probed(check, expected, client.token_status({"org": ref.org, "credential": ref.name}))
    except CommandError as error:
        return Probed(check, expected, None, str(error))


_CLAIMS = {
    "vends": "vends a token",
    "refuses_forged": "refuses a forged key",
    "refuses_denied": "refuses an org that is not allowed",
}


def _line(result: Probed) -> str:
    if result.ok:
        return f"ok      {_CLAIMS[result.check]} ({result.seen})"
    seen = result.error if result.seen is None else f"answered {result.seen}, expected {result.expected}"
    return f"FAILED  {_CLAIMS[result.check]}: {seen}"
