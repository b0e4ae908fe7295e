"""10,000 orgs whose documents name one app, over real files and a real sandbox."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from app.bootstrap.minting import Minting, minting
from app.domain.names import CredentialRef, OrgId, TokenKey
from app.lifecycle.in_parallel import in_parallel
from app.sandbox import SandboxClient
from app.settings.settings import read_minting_settings
from tests.support.ims_server import RunningSandbox, run_sandbox
from tests.support.recorded_events import RecordedEvents
from tests.support.tenants import new_secret

ORGS = [f"{number:024X}@AdobeOrg" for number in range(10_000)]
USED = ORGS[::20]
"""The orgs that callers ask for: 500 of them."""

CLIENT, SCOPES = "shared-app", ["openid", "AdobeID"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documents of all orgs."""
    folder = tmp_path_factory.mktemp("orgs")
    for org in ORGS:
        (folder / org).mkdir()
        document = {"kind": "enterprise_web_app", "app": "shared", "org_id": org}
        (folder / org / "default.json").write_text(json.dumps(document))
    (folder / "_apps").mkdir()
    return folder


def store_app(folder: Path, ims: RunningSandbox, *secrets: str) -> None:
    """Write the app's document, once, as an operator would."""
    document = {"client_id": CLIENT, "client_secrets": list(secrets), "scopes": SCOPES, "ims_base_url": ims.base_url}
    (folder / "_apps" / "shared.json").write_text(json.dumps(document))


def register(ims: RunningSandbox, *secrets: str) -> None:
    """Tell the sandbox of the app and of all orgs that consented."""
    ims.sandbox.state.clients.put(
        SandboxClient(
            client_id=CLIENT,
            org_id=ORGS[0],
            kind="enterprise_web_app",
            client_secrets=secrets,
            technical_account_id="A" * 24 + "@techacct.adobe.com",
            scopes=tuple(SCOPES),
            consented_orgs={org: f"{org[:24]}@techacct.adobe.com" for org in ORGS},
        )
    )


async def test_one_write_rotates_the_secret_of_all(folder: Path) -> None:
    """The app's secret changes once at Adobe and once in the store; no org fails, and each mint is one exchange."""
    old, new = new_secret(), new_secret()
    async with run_sandbox() as ims:
        register(ims, old)
        store_app(folder, ims, old)
        settings = read_minting_settings(
            {
                "BROKER_CREDENTIAL_STORE": "directory",
                "BROKER_CREDENTIAL_DIR": str(folder),
                "BROKER_IMS_BASE_URLS": ims.base_url,
            }
        )
        async with minting(settings, RecordedEvents(), time.time) as parts:
            assert len(await parts.store.refs()) == len(ORGS)
            assert await _versions_of_app(parts) == 1
            register(ims, old, new)
            store_app(folder, ims, new, old)
            register(ims, new)
            assert await _versions_of_app(parts) == 1
        refused = [entry for entry in ims.sandbox.state.journal.entries() if entry.outcome != "issued"]
        # Those that were under way with the document of a moment ago are refused once, and read it again.
        assert len(refused) <= 20
        assert len(ims.sandbox.state.journal.entries()) == 2 * len(USED) + len(refused)


async def _versions_of_app(parts: Minting) -> int:
    """Mint a token for each org that is used; how many versions of the app the last hundred of them have."""

    async def mint(org: str) -> str:
        return (await parts.minter.mint(TokenKey(CredentialRef(OrgId(org))), 0)).generation

    generations = await in_parallel(USED, mint, 20)
    return len({generation.partition(".")[0] for generation in generations[-100:]})
