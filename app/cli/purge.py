"""``purge``: let brokers forget all tokens of a credential."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from app.cli.broker_options import DEFAULT_URLS, ApiKeyOption, CaOption, EverywhereOption, UrlsOption
from app.cli.failure import FAILED
from app.cli.org_options import CredentialOption, name_of, named_credential
from app.cli.policy_input import JsonOption
from app.cli.regions import broker_urls, purge_at


def purge(
    org: Annotated[str, typer.Option("--org", metavar="ORG", help="The IMS org id.", show_default=False)],
    credential: CredentialOption = "default",
    urls: UrlsOption = DEFAULT_URLS,  # Typer's way; it is never changed
    everywhere: EverywhereOption = False,
    api_key_file: ApiKeyOption = None,
    ca_file: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make brokers discard all tokens of a credential: on every replica within 2 seconds if Redis is up.

    The caller needs the action ``purge``. Adobe still accepts tokens that callers have, until they expire. Exit
    status 0: all brokers purged; 1: at least one did not; the output names it.
    """
    ref = named_credential(org, credential)
    results = purge_at(broker_urls(urls, everywhere=everywhere), ref, api_key_file, ca_file)
    if as_json:
        body = {"org": ref.org, "credential": ref.name, "brokers": [asdict(result) for result in results]}
        typer.echo(json.dumps(body))
    else:
        for result in results:
            said = "purged" if result.error is None else f"not purged: {result.error}"
            typer.echo(f"{name_of(ref)} at {result.url}: {said}", err=result.error is not None)
    if any(result.error is not None for result in results):
        raise typer.Exit(FAILED)
