"""Command lines to copy: they need curl and a POSIX shell, nothing else."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

_NEWLINE = r"-w '\n'"
"""The answers end without one, and a shell's prompt would follow in the same line."""

_ADOBE_HEADERS = "^(authorization|x-api-key|x-gw-ims-org-id):"


def curl_lines(
    broker: str, sandbox: str, api_key: str, caller: str, jwt_org: str, oauth_org: str
) -> Mapping[str, tuple[str, str]]:
    """All command lines, by a name for programs; each with a heading for people.

    Args:
        broker: The broker's base URL.
        sandbox: The sandbox' base URL.
        api_key: The demo caller's key.
        caller: The demo caller's name.
        jwt_org: The tenant of kind ``jwt``.
        oauth_org: The tenant of kind ``oauth_server_to_server``.

    """
    bearer = f"-H {shlex.quote(f'Authorization: Bearer {api_key}')}"
    # The three headers go through a pipe from the broker's answer into the call of Adobe's API.
    headers_to_call = (
        f"curl -sS -D - -o /dev/null {bearer} {shlex.quote(f'{broker}/headers?org={oauth_org}')}"
        f" | tr -d '\\r' | grep -iE {shlex.quote(_ADOBE_HEADERS)}"
        f" | curl -sS {_NEWLINE} -H @- {shlex.quote(f'{sandbox}/imp/messages')}"
    )
    login = f"-u {shlex.quote(f'{caller}:{api_key}')}"
    form = f"-d grant_type=client_credentials -d {shlex.quote(f'org={jwt_org}')}"
    return {
        "token_jwt": (
            "A token for the tenant of kind jwt",
            f"curl -sS {_NEWLINE} {bearer} {shlex.quote(f'{broker}/token?org={jwt_org}')}",
        ),
        "token_oauth": (
            "A token for the tenant of kind oauth_server_to_server",
            f"curl -sS {_NEWLINE} {bearer} {shlex.quote(f'{broker}/token?org={oauth_org}')}",
        ),
        "journey_optimizer": (
            "A call of Adobe Journey Optimizer (played by the sandbox) with the three headers it wants",
            headers_to_call,
        ),
        "oauth2_token": (
            "The same as any OAuth 2.0 client does it",
            f"curl -sS {_NEWLINE} {login} {form} {shlex.quote(f'{broker}/oauth2/token')}",
        ),
    }
