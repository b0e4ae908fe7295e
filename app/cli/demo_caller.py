"""The one caller of ``dev``: its API key in a file, and the policy that admits it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from pathlib import Path

from app.adapters.policy_file import read_policy
from app.cli.failure import USAGE, CommandError
from app.cli.new_file import write_new_file
from app.domain.api_key import SECRET_BYTES, api_key_sha256, new_api_key, parse_api_key
from app.domain.errors import UnauthenticatedError
from app.domain.plain_document import PolicyError

CALLER = "demo"


def demo_api_key(key_file: Path, policy_file: Path, orgs: Iterable[str]) -> str:
    """The demo caller's API key, which the policy admits.

    Files that are missing are created. A policy from an earlier run is kept unchanged, so that you can edit it.

    Raises:
        CommandError: The files of an earlier run do not match, or a file cannot be read or written.

    """
    api_key = _existing(key_file)
    if api_key is None:
        api_key = _new_key(key_file)
    try:
        if not policy_file.exists():
            write_new_file(policy_file, _policy(api_key, orgs))
        policy = read_policy(policy_file)
        name = policy.caller(parse_api_key(api_key.encode())).name
    except PolicyError as error:
        raise CommandError(f"{policy_file}: {error}.", USAGE) from None
    except UnauthenticatedError:
        name = ""
    if name != CALLER:
        raise CommandError(
            f"{policy_file} has no caller {CALLER} with the API key of {key_file}; remove both to renew them.",
            USAGE,
        )
    return api_key


def _existing(key_file: Path) -> str | None:
    try:
        return key_file.read_text("ascii", errors="replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CommandError(f"{key_file} cannot be read: {error.strerror}.", USAGE) from None


def _new_key(key_file: Path) -> str:
    api_key = new_api_key("dev", secrets.token_bytes(SECRET_BYTES))
    write_new_file(key_file, f"{api_key}\n")
    return api_key


def _policy(api_key: str, orgs: Iterable[str]) -> str:
    return (
        "# Change this file while the broker runs: changes apply within 5 seconds.\n"
        "version: 1\n"
        "callers:\n"
        f"  - name: {CALLER}\n"
        f'    match: {{api_key_sha256: ["{api_key_sha256(api_key)}"]}}\n'
        "    allow:\n"
        f"      - orgs: {json.dumps(list(orgs))}\n"
        "        actions: [vend, report, purge, status]\n"
    )
