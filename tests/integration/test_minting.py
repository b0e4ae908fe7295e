"""The minting parts assembled by themselves, as in a command that makes one real exchange."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.bootstrap.minting import minting
from app.domain.events import DependencyCalled, ExchangeFinished
from app.domain.names import CredentialRef, OrgId, TokenKey
from app.domain.tenant_errors import CredentialMisconfiguredError, CredentialNotFoundError
from app.sandbox.clients import client_from
from app.settings.settings import MintingSettings, read_minting_settings
from tests.factories import ORG
from tests.support.documents import without
from tests.support.ims_server import run_sandbox
from tests.support.kms_server import KMS_REGION, KmsServer, aws_variables
from tests.support.recorded_events import RecordedEvents
from tests.support.tenants import Tenant, claims_of

_KMS_KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"


def settings_for(folder: Path, base_url: str, **more: str) -> MintingSettings:
    """Settings for a directory store and an IMS, and `more`."""
    return read_minting_settings(
        {
            "BROKER_CREDENTIAL_STORE": "directory",
            "BROKER_CREDENTIAL_DIR": str(folder),
            "BROKER_IMS_BASE_URLS": base_url,
            **more,
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


async def test_a_token_is_minted_with_a_key_that_never_left_kms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document with a `kms_key` and no private key is exchanged at an IMS that verifies the signature."""
    for name, value in aws_variables(tmp_path).items():
        monkeypatch.setenv(name, value)
    async with run_sandbox() as ims:
        tenant = Tenant(ims.base_url, "jwt")
        ims.sandbox.state.clients.put(client_from(tenant.client()))
        key, sink = stored(tmp_path, tenant), RecordedEvents()
        with KmsServer().running() as kms:
            kms.keys[_KMS_KEY] = tenant.key.key
            document = {**without(tenant.document(), "private_key"), "kms_key": _KMS_KEY}
            (tmp_path / tenant.org / "default.json").write_text(json.dumps(document))
            settings = settings_for(
                tmp_path, ims.base_url, BROKER_KMS_REGION=KMS_REGION, BROKER_KMS_ENDPOINT_URL=kms.url
            )
            async with minting(settings, sink, time.time) as parts:
                token = await parts.minter.mint(key, epoch=0)
    assert claims_of(token.value)["client_id"] == tenant.client_id
    assert ("kms", "ok") in [(event.dependency, event.outcome) for event in sink.of(DependencyCalled)]


async def test_a_kms_key_without_a_region(tmp_path: Path) -> None:
    """A broker without KMS refuses such a document, and names the field and the setting."""
    tenant = Tenant("https://ims.example", "jwt")
    key = stored(tmp_path, tenant)
    document = {**without(tenant.document(), "private_key"), "kms_key": _KMS_KEY}
    (tmp_path / tenant.org / "default.json").write_text(json.dumps(document))
    async with minting(settings_for(tmp_path, "https://ims.example"), RecordedEvents(), time.time) as parts:
        with pytest.raises(CredentialMisconfiguredError, match="kms_key: needs AWS KMS: BROKER_KMS_REGION"):
            await parts.minter.mint(key, epoch=0)


async def test_the_store_works_by_itself(tmp_path: Path) -> None:
    """The credential store works by itself, for a diagnosis that must not make an exchange."""
    key = stored(tmp_path, Tenant("https://ims.example"))
    async with minting(settings_for(tmp_path, "https://ims.example"), RecordedEvents(), time.time) as parts:
        assert await parts.store.refs() == (key.ref,)
        with pytest.raises(CredentialNotFoundError):
            await parts.store.fetch(CredentialRef(ORG))


def test_minting_loads_no_redis_no_metrics_and_no_api() -> None:
    """Importing the minting parts imports neither Redis, nor Prometheus, nor a web framework, nor an extra."""
    unwanted = {"redis", "prometheus_client", "fastapi", "uvicorn", "opentelemetry", "botocore"}
    program = f"import sys, app.bootstrap.minting; print(sorted({unwanted} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
