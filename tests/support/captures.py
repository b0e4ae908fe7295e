"""Captures of the main commands for ``docs/pictures.md``: ``python -m tests.support.captures`` writes them there.

Real commands run against a real broker and the sandbox, with credentials in a directory. Times, ports, versions of
documents and debug ids differ from run to run, so a fixed one of the same form takes the place of each.
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path

from app.sandbox.secrets_api import SCOPES
from tests.support.adobe_files import oauth_member, project
from tests.support.broker_without_vault import BrokerWithoutVault, broker_without_vault
from tests.support.processes import run_cli
from tests.support.readme import written
from tests.support.repository import ROOT
from tests.support.tenants import Tenant

PAGE = ROOT / "docs" / "pictures.md"
SECTION = "captures"

IMPORTED, SIGNING, REFUSED = (f"{digit * 24}@AdobeOrg" for digit in "ABC")
CONSOLE_ORG, CONSOLE_CREDENTIAL = "25591412", "1"

_CONSTANT = {
    r"127\.0\.0\.1:\d+": "127.0.0.1:9000",
    r"ims_base_url: sha256 \w+": "ims_base_url: sha256 00000000",
    r"until \S+Z, because the old secret was in use until \S+Z": (
        "until 2026-11-26T10:00:00Z, because the old secret was in use until 2026-11-26T09:00:00Z"
    ),
    r"The limit is \w+": "The limit is 65536",
    r"23 h \d\d min": "23 h 59 min",
    r"#{9}[#.]": "##########",
}
"""What differs from run to run, and the text that takes its place."""

_BY_OCCURRENCE = {
    r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z": "2026-11-26T09:00:{:02}.000Z",
    r"\b[0-9a-f]{32}\b": "{:032x}",
}
"""The same, if each occurrence is another one: they are numbered from 1."""

_BY_VALUE = {r"\b[0-9a-f]{12}\b": "{:012x}"}
"""The same for versions of documents, whose occurrences belong together."""


@dataclass(frozen=True)
class Command:
    """One command of the page.

    Args:
        says: What it shows, for the reader.
        words: The command line without the program.
        code: The exit status that it must have.

    """

    says: str
    words: tuple[str, ...]
    code: int = 0


def commands(ims: str, broker: str) -> tuple[Command, ...]:
    """The commands, in the order in which they run.

    Args:
        ims: The base URL of the sandbox.
        broker: The base URL of the broker.

    """
    file = ("org", "import", "download.json", "--ims-base-url", ims)
    rotate = ("secret", "rotate", IMPORTED, "--console-url", ims)
    may = ("policy", "explain", "--caller", "campaigns")
    return (
        Command(
            "What an import would write, after a real exchange. Values are shown by fingerprint.", (*file, "--dry-run")
        ),
        Command("The same, written and read back.", file),
        Command("What is stored.", ("org", "list")),
        Command(
            "A real exchange with each secret. IMS refuses one: exit status 1.",
            ("org", "check", "--all", "--parallel", "1"),
            code=1,
        ),
        Command("What is wrong with the set-up: here nothing.", ("doctor",)),
        Command("What a running broker knows, after each org's token was requested once.", ("status", "--url", broker)),
        Command("A rotation that has to wait for the old secret to be quiet.", (*rotate, "--no-wait")),
        Command("The same command finishes it; `--now` does not wait.", (*rotate, "--now")),
        Command("Which rule allows a request.", (*may, "--org", IMPORTED, "--scope", "openid")),
        Command("Which rule nearly allows it, and what it lacks: exit status 1.", (*may, "--org", SIGNING), code=1),
        Command(
            "What the sandbox was asked by this client: by the imports, the check, the broker and the rotation.",
            ("sandbox", "journal", "--client-id", "demo", "--url", ims),
        ),
    )


async def captures() -> str:
    """The captures as Markdown, made now."""
    # `doctor` warns of the soft limit that many machines have.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="captures-") as place:
        folder = Path(place)
        with broker_without_vault(folder, 0) as broker:
            _prepare(broker, folder)
            shown = commands(broker.sandbox.base_url, broker.replica.url)
            made = [await _captured(command, broker, folder) for command in shown]
    return fixed("\n\n".join(made))


def fixed(text: str) -> str:
    """`text` with a fixed value for everything that differs from run to run."""
    for pattern, value in _CONSTANT.items():
        text = re.sub(pattern, value, text)
    for pattern, form in _BY_OCCURRENCE.items():
        first, *others = re.split(pattern, text)
        text = first + "".join(form.format(number) + other for number, other in enumerate(others, 1))
    for pattern, form in _BY_VALUE.items():
        for number, value in enumerate(dict.fromkeys(re.findall(pattern, text)), 1):
            text = text.replace(value, form.format(number))
    return text


def _prepare(broker: BrokerWithoutVault, folder: Path) -> None:
    """Three orgs: one to import, one that signs, and one whose secret IMS refuses; and a caller with one rule."""
    tenant = Tenant(broker.sandbox.base_url, org=IMPORTED, client_id="demo", client_secrets=("not-a-secret",))
    ids = {"console_org_id": CONSOLE_ORG, "credential_id": CONSOLE_CREDENTIAL}
    broker.sandbox.put_client({**tenant.client(), "scopes": list(SCOPES), **ids})
    member = {**oauth_member(tenant), "scopes": list(SCOPES)}
    download = project(IMPORTED, {"oauth_server_to_server": member})
    (folder / "download.json").write_text(json.dumps(download))
    broker.tenant(org=SIGNING, client_id="demo-jwt", kind="jwt")
    broker.tenant(org=REFUSED, client_id="demo-refused", known_secrets=("not-this-one",))
    for file in (folder / "credentials").rglob("*.json"):
        file.chmod(0o600)
    broker.policy.caller("campaigns", {"orgs": [IMPORTED], "scopes": ["openid", "AdobeID"]})


async def _captured(command: Command, broker: BrokerWithoutVault, folder: Path) -> str:
    if command.words[0] == "status":
        for org in (IMPORTED, SIGNING, REFUSED):
            await broker.replica.token(org)
    env = {
        "BROKER_CREDENTIAL_STORE": "directory",
        "BROKER_CREDENTIAL_DIR": "credentials",
        "BROKER_IMS_BASE_URLS": broker.sandbox.base_url,
        "BROKER_POLICY_FILE": "policy.json",
        "ITB_API_KEY": broker.replica.key,
    }
    ran = await run_cli(*command.words, env=env, cwd=folder)
    assert ran.code == command.code, (command, ran)
    shown = "\n".join(line.rstrip() for line in (ran.stdout + ran.stderr).splitlines())
    return f"{command.says}\n\n```\n$ ims-token-broker {shlex.join(command.words)}\n{shown}\n```"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(), SECTION, asyncio.run(captures())))
