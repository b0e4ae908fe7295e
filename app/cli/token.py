"""``token``: ask a running broker for a token, as any caller would."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Annotated

import typer

from app.cli.broker_client import BrokerClient, read_api_key
from app.cli.broker_options import DEFAULT_URL, ApiKeyOption, CaOption, UrlOption
from app.cli.failure import USAGE, CommandError
from app.domain.access_token import MAX_MIN_TTL

app = typer.Typer(name="token", help="Tokens of a running broker.", rich_markup_mode=None)

_ENVIRONMENT = {"IMS_ACCESS_TOKEN": "access_token", "IMS_API_KEY": "client_id", "IMS_ORG_ID": "org_id"}
"""Variables of a shell, and the member of the broker's response that each is set to."""


@app.callback()
def _token() -> None:
    """Keep ``get`` a subcommand while it is the only one."""


@app.command("get")
def get(
    org: Annotated[str, typer.Argument(metavar="ORG", help="The IMS org id.", show_default=False)],
    credential: Annotated[str, typer.Option(metavar="NAME", help="Name of the org's credential.")] = "default",
    scope: Annotated[
        str | None, typer.Option(metavar="SCOPES", help="A subset of the scopes, separated by spaces or commas.")
    ] = None,
    min_ttl: Annotated[
        int,
        typer.Option(metavar="SECONDS", min=0, max=MAX_MIN_TTL, help="Remaining lifetime that the token must have."),
    ] = 0,
    url: UrlOption = DEFAULT_URL,
    api_key_file: ApiKeyOption = None,
    ca_file: CaOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the broker's whole response.")] = False,
    as_header: Annotated[bool, typer.Option("--header", help="Print an Authorization header.")] = False,
    as_env: Annotated[
        bool, typer.Option("--env", help="Print lines for eval: IMS_ACCESS_TOKEN, IMS_API_KEY, IMS_ORG_ID.")
    ] = False,
) -> None:
    """Print an access token, and nothing else."""
    from app.domain.errors import InvalidRequestError
    from app.domain.names import parse_credential_name, parse_org

    if as_json + as_header + as_env > 1:
        raise CommandError("Give only one of --json, --header and --env.", USAGE)
    try:
        query = {"org": parse_org(org), "credential": parse_credential_name(credential)}
    except InvalidRequestError as error:
        raise CommandError(error.detail, USAGE) from None
    if scope is not None:
        query["scope"] = scope
    answer = BrokerClient(url, read_api_key(api_key_file), ca_file).token({**query, "min_ttl": str(min_ttl)})
    if as_json:
        typer.echo(json.dumps(answer))
    elif as_env:
        typer.echo(_export_lines(answer))
    else:
        typer.echo(f"{'Authorization: Bearer ' if as_header else ''}{answer['access_token']}")


def _export_lines(answer: Mapping[str, object]) -> str:
    values = {variable: answer.get(member) for variable, member in _ENVIRONMENT.items()}
    if not all(isinstance(value, str) and value.isprintable() for value in values.values()):
        raise CommandError("The response has no client_id or org_id: it is not from a broker; check --url.")
    return "\n".join(f"export {variable}={shlex.quote(str(value))}" for variable, value in values.items())
