"""``sandbox``: only the local IMS, for testing programs without Adobe."""

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
from app.cli.failure import USAGE, CommandError

if TYPE_CHECKING:
    from app.sandbox import Sandbox, SandboxClient

DEFAULT_TOKEN_LIFETIME = 86399.0
"""Seconds. The lifetime of Adobe's tokens."""

_LOOPBACK_OF = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def sandbox(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 0,
    clients: Annotated[
        Path | None,
        typer.Option("--clients", metavar="FILE", help="The clients it knows (JSON). Default: one sample client."),
    ] = None,
    token_lifetime: Annotated[
        float, typer.Option("--token-lifetime", metavar="SECONDS", help="Lifetime of its tokens.")
    ] = DEFAULT_TOKEN_LIFETIME,
    base_urls: Annotated[
        list[str] | None,
        typer.Option("--base-url", metavar="URL", help="Another URL at which it can be reached; repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print its URL as one line of JSON.")] = False,
) -> None:
    """Run only a local IMS, which validates and answers like Adobe.

    It knows the clients of a file, or one sample client. Its control API below /sandbox/ has faults, clients, journal.
    """
    from app.cli.local_ims import free_socket
    from app.sandbox import SandboxConfigError, create_sandbox, load_clients

    sock = free_socket(host, port)
    address, number = sock.getsockname()[:2]
    base_url = url_of(_LOOPBACK_OF.get(address, address), number)
    try:
        known = load_clients(clients) if clients else (_client_for_a_try(),)
        ims = create_sandbox(known, base_url=base_url, aliases=base_urls or (), token_lifetime=token_lifetime)
    except SandboxConfigError as error:
        sock.close()
        raise CommandError(str(error), USAGE) from None
    line = f"curl -sS {base_url}/sandbox/clients" if clients else _token_line(base_url, known[0])
    if as_json:
        typer.echo(json.dumps({"sandbox": base_url, "clients": len(known), "curl": line}))
    else:
        typer.echo(f"sandbox of Adobe IMS at {base_url}\n\n{line}\n\nCtrl-C ends it.")
    asyncio.run(_serve(ims, sock))


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
    return f"curl -sS {fields} {base_url}/ims/token/v3"


async def _serve(ims: Sandbox, sock: socket.socket) -> None:
    from app.cli.local_ims import served

    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    async with served(ims, sock):
        await ended.wait()
