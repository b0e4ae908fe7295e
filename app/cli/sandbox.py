"""``sandbox``: only the local IMS, for testing programs without Adobe; and the commands for one that runs."""

from __future__ import annotations

import asyncio
import json
import secrets
import shlex
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.addresses import url_of
from app.cli.curl_lines import NEWLINE, sandbox_lines
from app.cli.failure import USAGE, CommandError
from app.cli.sandbox_control import DEFAULT_SANDBOX_PORT
from app.cli.sandbox_fault import fault
from app.cli.sandbox_journal import journal
from app.cli.sandbox_replay import replay

if TYPE_CHECKING:
    from app.sandbox import Sandbox, SandboxClient

_LOOPBACK_OF = {"0.0.0.0": "127.0.0.1", "::": "::1"}


app = typer.Typer(
    name="sandbox",
    invoke_without_command=True,
    rich_markup_mode=None,
)
app.command("fault")(fault)
app.command("journal")(journal)
app.command("replay")(replay)


@app.callback()
def sandbox(
    context: typer.Context,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = DEFAULT_SANDBOX_PORT,
    clients: Annotated[
        Path | None,
        typer.Option("--clients", metavar="FILE", help="The sandbox's clients (JSON). Default: one sample client."),
    ] = None,
    token_lifetime: Annotated[
        float | None,
        typer.Option("--token-lifetime", metavar="SECONDS", help="Lifetime of the tokens. Default: a day."),
    ] = None,
    last_used_lag: Annotated[
        float,
        typer.Option(
            "--last-used-lag", metavar="SECONDS", help="Delay until the secrets API shows that a secret was used."
        ),
    ] = 0.0,
    base_urls: Annotated[
        list[str] | None,
        typer.Option("--base-url", metavar="URL", help="Another URL of the sandbox; repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the sandbox's URL as one line of JSON.")] = False,
) -> None:
    """Run only a local IMS, which validates and answers like Adobe; or control a running one.

    Without a command it runs until Ctrl-C. Its clients come from a file; default: one sample client.
    """
    if context.invoked_subcommand is not None:
        _refuse_options_of_the_server(context)
        return
    from app.cli.local_ims import free_socket
    from app.sandbox import TOKEN_LIFETIME, SandboxConfigError, create_sandbox, load_clients

    sock = free_socket(host, port, " Choose another --port; 0 takes a free one.")
    address, number = sock.getsockname()[:2]
    base_url = url_of(_LOOPBACK_OF.get(address, address), number)
    try:
        known = load_clients(clients) if clients else (_client_for_a_try(),)
        ims = create_sandbox(
            known,
            base_url=base_url,
            aliases=base_urls or (),
            token_lifetime=TOKEN_LIFETIME if token_lifetime is None else token_lifetime,
            last_used_lag=last_used_lag,
        )
    except SandboxConfigError as error:
        sock.close()
        raise CommandError(str(error), USAGE) from None
    line = f"curl -sS {NEWLINE} {base_url}/sandbox/clients" if clients else _token_line(base_url, known[0])
    if as_json:
        typer.echo(json.dumps({"sandbox": base_url, "clients": len(known), "curl": line}))
    else:
        orders = "\n".join(sandbox_lines(base_url).values())
        typer.echo(f"sandbox of Adobe IMS at {base_url}\n\n{line}\n\n{orders}\n\nCtrl-C ends it.")
    asyncio.run(_serve(ims, sock))


def _refuse_options_of_the_server(context: typer.Context) -> None:
    given = [name for name in context.params if str(context.get_parameter_source(name)).endswith("COMMANDLINE")]
    if given:
        command = context.invoked_subcommand
        raise CommandError(
            f"The options before {command} start a sandbox: put the options of {command} after it.", USAGE
        )


def _client_for_a_try() -> SandboxClient:
    from app.sandbox import SandboxClient

    return SandboxClient(
        client_id="try",
        org_id="TRY000000000000000000001@AdobeOrg",
        kind="oauth_server_to_server",
        client_secrets=(f"p8e-{secrets.token_urlsafe(24)}",),
        scopes=("openid", "AdobeID"),
    )


def _token_line(base_url: str, client: SandboxClient) -> str:
    form = {
        "grant_type": "client_credentials",
        "client_id": client.client_id,
        "client_secret": client.client_secrets[0],
        "scope": ",".join(client.scopes),
    }
    fields = " ".join(f"-d {shlex.quote(f'{name}={value}')}" for name, value in form.items())
    return f"curl -sS {NEWLINE} {fields} {base_url}/ims/token/v3"


async def _serve(ims: Sandbox, sock: socket.socket) -> None:
    from app.cli.local_ims import served

    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    async with served(ims, sock):
        await ended.wait()
