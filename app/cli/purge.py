"""``purge``: let brokers forget all tokens of a credential."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from app.cli.failure import FAILED
from app.cli.org_options import CredentialOption, name_of, named_credential
from app.cli.policy_input import JsonOption
from app.cli.regions import broker_urls, purge_at

UrlsOption = Annotated[
    list[str], typer.Option("--url", envvar="ITB_URL", metavar="URL", help="Where a broker is. Repeatable.")
]
EverywhereOption = Annotated[bool, typer.Option("--everywhere", help="All regions: the URLs in ITB_URLS.")]
ApiKeyOption = Annotated[
    Path | None, typer.Option("--api-key-file", metavar="FILE", help="Your API key. Default: $ITB_API_KEY.")
]
CaOption = Annotated[
    Path | None, typer.Option("--ca-file", metavar="FILE", help="CA bundle for https. Default: the system's.")
]
DEFAULT_URLS = ["http://127.0.0.1:8080"]


def purge(
    org: Annotated[str, typer.Option("--org", metavar="ORG", help="The IMS org id.", show_default=False)],
    credential: CredentialOption = "default",
    urls: UrlsOption = DEFAULT_URLS,  # Typer's way; it is never changed
    everywhere: EverywhereOption = False,
    api_key_file: ApiKeyOption = None,
    ca_file: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let brokers forget all tokens of a credential: on every replica within 2 seconds while Redis is up.

    The caller needs the action ``purge``. Adobe accepts a token that was handed out until its end all the same. Exit
    code 0: all brokers did it; 1: at least one did not, which is named.
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
