"""What ``dev`` runs: a sandbox and a broker in one event loop, with their files in one folder."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import typer
import uvloop

from app import main
from app.adapters.json_logs import configure_logging
from app.bootstrap.broker import assembled
from app.cli.addresses import url_of
from app.cli.curl_lines import curl_lines, purge_line, sandbox_lines
from app.cli.demo_caller import CALLER, demo_api_key
from app.cli.demo_tenants import DEMO_ORGS, JWT_ORG, OAUTH_ORG, demo_tenants
from app.cli.local_ims import free_socket, served
from app.cli.preflight import start_error
from app.cli.signals import Ending
from app.sandbox import Sandbox, create_sandbox
from app.settings.settings import Settings, read_settings

HOST = "127.0.0.1"
LOG_LEVEL = "WARNING"
"""The terminal shows the curl lines; requests are only in the audit log."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of the two servers; 0 takes a free one."""

    broker: int = 0
    sandbox: int = 0


@dataclass(frozen=True, slots=True)
class Running:
    """What to print about a run.

    Args:
        broker: The broker's base URL.
        sandbox: The sandbox's base URL.
        api_key: The demo caller's key.
        files: The folder of the files, as text for a person.

    """

    broker: str
    sandbox: str
    api_key: str = field(repr=False)
    files: str


def run_embedded(folder: Path, ports: Ports, ending: Ending, *, as_json: bool, is_kept: bool) -> None:
    """Run until a signal ends it.

    Args:
        folder: The folder for all files, which a later run reads again.
        ports: The ports to listen on.
        ending: The signals that end the run.
        as_json: Print the description as JSON instead of text.
        is_kept: Whether the folder is kept after the run.

    Raises:
        CommandError: A port is unavailable, or the files of the folder cannot be used.
        KeyboardInterrupt: A signal arrived before startup was complete.

    """
    credentials = folder / "credentials"
    credentials.mkdir(mode=0o700, exist_ok=True)
    api_key = demo_api_key(folder / "api-key", folder / "policy.yaml", DEMO_ORGS)
    with closing(free_socket(HOST, ports.sandbox)) as sandbox_sock, closing(free_socket(HOST, ports.broker)) as sock:
        sandbox_url, broker_url = (url_of(*taken.getsockname()[:2]) for taken in (sandbox_sock, sock))
        tenants = demo_tenants(credentials, sandbox_url)
        sandbox = create_sandbox([tenant.client for tenant in tenants], base_url=sandbox_url)
        settings = demo_settings(folder, sandbox_url)
        configure_logging(settings.log_level)
        shown = _as_json if as_json else _as_text
        text = shown(
            Running(broker_url, sandbox_url, api_key, f"{folder}{'' if is_kept else '  (removed at the end)'}")
        )
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_serve_both(sandbox, sandbox_sock, settings, sock, ending, text))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
        except (OSError, ValueError) as error:
            raise start_error(settings, error) from None


def _as_json(running: Running) -> str:
    known = {"broker": running.broker, "sandbox": running.sandbox, "api_key": running.api_key, "orgs": list(DEMO_ORGS)}
    curl = {name: line for name, (_, line) in _lines(running).items()}
    orders = {"sandbox_commands": sandbox_lines(running.sandbox), "purge_command": _purge_line(running)}
    return json.dumps({**known, "curl": curl, **orders})


def _as_text(running: Running) -> str:
    facts = (
        f"broker     {running.broker}\n"
        f"sandbox    {running.sandbox}  (simulates Adobe IMS and one Adobe API)\n"
        f"caller     {CALLER}, with the API key {running.api_key}\n"
        f"files      {running.files}\n"
    )
    blocks = (f"# {heading}\n{line}\n" for heading, line in _lines(running).values())
    orders = sandbox_lines(running.sandbox)
    rehearse = (
        f"# Make the next three exchanges fail; cached tokens are still served\n{orders['fault']}\n",
        f"# Discard a cached token: the second curl line above then fails with 503\n{_purge_line(running)}\n",
        f"# Remove all faults, show the requests to the sandbox\n{orders['clear']}\n{orders['journal']}\n",
    )
    return "\n".join((facts, *blocks, *rehearse, "Ctrl-C ends everything."))


def _purge_line(running: Running) -> str:
    return purge_line(running.broker, running.api_key, OAUTH_ORG)


def _lines(running: Running) -> Mapping[str, tuple[str, str]]:
    return curl_lines(running.broker, running.sandbox, running.api_key, CALLER, JWT_ORG, OAUTH_ORG)


def demo_settings(folder: Path, sandbox_url: str) -> Settings:
    """The broker's settings; the BROKER_ variables of the environment are ignored."""
    return read_settings(
        {
            "BROKER_HOST": HOST,
            "BROKER_POLICY_FILE": str(folder / "policy.yaml"),
            "BROKER_CREDENTIAL_STORE": "directory",
            "BROKER_CREDENTIAL_DIR": str(folder / "credentials"),
            "BROKER_IMS_BASE_URLS": sandbox_url,
            "BROKER_AUDIT_FILE": str(folder / "audit.log"),
            "BROKER_LOG_LEVEL": LOG_LEVEL,
        }
    )


async def _serve_both(
    sandbox: Sandbox, sandbox_sock: socket.socket, settings: Settings, sock: socket.socket, ending: Ending, text: str
) -> None:
    """Serve until `ending`. The sandbox stops after the broker, so that no exchange is cut off."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101  # a coroutine that runs is in a task
    ending.calls(lambda: loop.call_soon_threadsafe(task.cancel))
    async with served(sandbox, sandbox_sock), assembled(settings) as broker:
        server, readiness = main.create_broker_server(broker), broker.services.readiness

        def end() -> None:
            readiness.ready = False
            server.should_exit = True

        ending.calls(end)
        readiness.ready = True
        typer.echo(text)
        await server.serve(sockets=[sock])
