"""The minting parts assembled by themselves, as in a command that makes one real exchange."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.bootstrap.minting import minting
from app.domain.events import ExchangeFinished
from app.domain.names import CredentialRef, OrgId, TokenKey
from app.domain.tenant_errors import CredentialNotFoundError
from app.sandbox.clients import client_from
from app.settings.settings import MintingSettings, read_minting_settings
from tests.factories import ORG
from tests.support.ims_server import run_sandbox
from tests.support.recorded_events import RecordedEvents
from tests.support.tenants import Tenant, claims_of


def settings_for(folder: Path, base_url: str) -> MintingSettings:
    """Settings for a directory store and an IMS, and nothing else."""
    return read_minting_settings(
        {
            "BROKER_CREDENTIAL_STORE": "directory",
            "BROKER_CREDENTIAL_DIR": str(folder),
            "BROKER_IMS_BASE_URLS": base_url,
        }
    )


def stored(folder: Path, tenant: Tenant) -> TokenKey:
    """Put a tenant's document into the folder."""
    (folder / tenant.org).mkdir()
    (folder / tenant.org / "default.json").write_text(json.dumps(tenant.document()))
    return TokenKey(CredentialRef(OrgId(tenant.org)))


@pytest.mark.parametrize("kind", ["jwt", "oauth_server_to_server"])
async def test_a_token_is_minted_without_redis_policy_and_audit_log(tmp_path: Path, kind: str) -> None:
    """One real exchange needs only the settings for the credential store and for IMS."""
    async with run_sandbox() as ims:
        tenant = Tenant(ims.base_url, kind)
        ims.sandbox.state.clients.put(client_from(tenant.client()))
        key, sink = stored(tmp_path, tenant), RecordedEvents()
        async with minting(settings_for(tmp_path, ims.base_url), sink, time.time) as parts:
            token = await parts.minter.mint(key, epoch=0)
    assert claims_of(token.value)["client_id"] == tenant.client_id
    assert [event.outcome for event in sink.of(ExchangeFinished)] == ["issued"]


async def test_the_store_works_by_itself(tmp_path: Path) -> None:
    """The credential store works by itself, for a diagnosis that must not make an exchange."""
    key = stored(tmp_path, Tenant("https://ims.example"))
    async with minting(settings_for(tmp_path, "https://ims.example"), RecordedEvents(), time.time) as parts:
        assert await parts.store.refs() == (key.ref,)
        with pytest.raises(CredentialNotFoundError):
            await parts.store.fetch(CredentialRef(ORG))


def test_minting_loads_no_redis_no_metrics_and_no_api() -> None:
    """Importing the minting parts imports neither Redis, nor Prometheus, nor a web framework."""
    unwanted = {"redis", "prometheus_client", "fastapi", "uvicorn", "opentelemetry"}
    program = f"import sys, app.bootstrap.minting; print(sorted({unwanted} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
