"""Command lines to copy. They need only curl, a POSIX shell, and this program."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

NEWLINE = r"-w '\n'"
"""Responses do not end with a newline, so the shell prompt would follow on the same line."""

_NAME = "ims-token-broker"
_ADOBE_HEADERS = "^(authorization|x-api-key|x-gw-ims-org-id):"


def curl_lines(
    broker: str, sandbox: str, api_key: str, caller: str, jwt_org: str, oauth_org: str
) -> Mapping[str, tuple[str, str]]:
    """All command lines by name, each with a heading for people.

    Args:
        broker: The broker's base URL.
        sandbox: The sandbox's base URL.
        api_key: The demo caller's key.
        caller: The demo caller's name.
        jwt_org: The tenant of kind ``jwt``.
        oauth_org: The tenant of kind ``oauth_server_to_server``.

    """
    bearer = f"-H {shlex.quote(f'Authorization: Bearer {api_key}')}"
    # A pipe passes the three headers from the broker's response to the call of the Adobe API.
    headers_to_call = (
        f"curl -sS -D - -o /dev/null {bearer} {shlex.quote(f'{broker}/headers?org={oauth_org}')}"
        f" | tr -d '\\r' | grep -iE {shlex.quote(_ADOBE_HEADERS)}"
        f" | curl -sS {NEWLINE} -H @- {shlex.quote(f'{sandbox}/imp/messages')}"
    )
    login = f"-u {shlex.quote(f'{caller}:{api_key}')}"
    form = f"-d grant_type=client_credentials -d {shlex.quote(f'org={jwt_org}')}"
    return {
        "token_jwt": (
            "A token for the tenant of kind jwt",
            f"curl -sS {NEWLINE} {bearer} {shlex.quote(f'{broker}/token?org={jwt_org}')}",
        ),
        "token_oauth": (
            "A token for the tenant of kind oauth_server_to_server",
            f"curl -sS {NEWLINE} {bearer} {shlex.quote(f'{broker}/token?org={oauth_org}')}",
        ),
        "journey_optimizer": (
            "A call of Adobe Journey Optimizer (simulated by the sandbox) with the three headers it requires",
            headers_to_call,
        ),
        "oauth2_token": (
            "The same token, requested the way any OAuth 2.0 client does",
            f"curl -sS {NEWLINE} {login} {form} {shlex.quote(f'{broker}/oauth2/token')}",
        ),
    }


def sandbox_lines(sandbox: str) -> Mapping[str, str]:
    """Orders to a sandbox, by name: make it fail, remove all faults, see what it was asked."""
    program, url = f"{shlex.quote(_program())} sandbox", f"--url {shlex.quote(sandbox)}"
    return {
        "fault": f"{program} fault status --status 503 --times 3 {url}",
        "clear": f"{program} fault --clear {url}",
        "journal": f"{program} journal --follow {url}",
    }


def purge_line(broker: str, api_key: str, org: str) -> str:
    """The order to a broker to discard the cached token of an org."""
    login = f"ITB_API_KEY={shlex.quote(api_key)}"
    return f"{login} {shlex.quote(_program())} purge --org {shlex.quote(org)} --url {shlex.quote(broker)}"


def _program() -> str:
    """How this program is called: its name, or its path if the shell does not find the name (as with `make run`)."""
    called = sys.argv[0]
    return called if shutil.which(_NAME) is None and Path(called).name == _NAME else _NAME
