"""The client certificate for a real Vault whose listener asks for one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from app.adapters.vault import VaultConfig
from app.domain.dependency_errors import CredentialStoreError
from app.domain.names import CredentialRef
from tests.support.asking_servers import AskingVault, issued_files
from tests.support.documents import oauth_document, ref_of
from tests.support.replaced_pair import replace_under_load
from tests.support.tls import Authority
from tests.support.vault_broker import broker_with
from tests.support.vault_server import running_vault

REF: CredentialRef = ref_of(0xD0001)


@pytest.fixture(scope="module")
def authority() -> Authority:
    """Signs the certificates of Vault and of its clients."""
    return Authority()


@pytest.fixture(scope="module")
def without_certificate(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultConfig]:
    """Settings for a running Vault that has a credential and asks for a certificate, which they do not have."""
    folder = tmp_path_factory.mktemp("asking")
    asking = AskingVault(folder, authority)
    with running_vault(folder, asking.config_file) as server:
        server.put(REF.org, REF.name, oauth_document(REF))
        yield asking.config(server.root_token)


async def test_a_client_certificate_is_presented(
    without_certificate: VaultConfig, authority: Authority, tmp_path: Path
) -> None:
    """With a certificate that Vault trusts, credentials are read."""
    cert, key = issued_files(tmp_path, authority)
    async with broker_with(replace(without_certificate, cert_file=cert, key_file=key)) as broker:
        assert (await broker.store.fetch(REF)).ref == REF


async def test_without_one_the_error_names_the_settings(without_certificate: VaultConfig) -> None:
    """Vault ends the handshake of a client without certificate, and the error says what to set."""
    async with broker_with(without_certificate) as broker:
        with pytest.raises(CredentialStoreError, match="BROKER_VAULT_CERT_FILE"):
            await broker.store.fetch(REF)


async def test_a_certificate_of_another_authority_is_refused(without_certificate: VaultConfig, tmp_path: Path) -> None:
    """So it does for a certificate that it does not trust."""
    cert, key = issued_files(tmp_path, Authority())
    async with broker_with(replace(without_certificate, cert_file=cert, key_file=key)) as broker:
        with pytest.raises(CredentialStoreError, match="client certificate that it trusts"):
            await broker.store.fetch(REF)


async def test_a_renewed_certificate_is_used_without_a_restart(
    without_certificate: VaultConfig, authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A bad renewal is logged once and leaves the last pair in use; the next good one is presented."""
    cert, key = issued_files(tmp_path, authority)
    async with broker_with(replace(without_certificate, cert_file=cert, key_file=key)) as broker:
        await broker.store.fetch(REF)
        cert.write_bytes(authority.issue("client.example").chain)
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                await broker.store.fetch(REF)
        (said,) = [record.getMessage() for record in caplog.records]
        assert said.endswith("the last one stays: BROKER_VAULT_KEY_FILE does not belong to the certificate.")
        issued_files(tmp_path, Authority())
        with pytest.raises(CredentialStoreError, match="client certificate"):
            await broker.store.fetch(REF)
        issued_files(tmp_path, authority)
        assert (await broker.store.fetch(REF)).ref == REF


@pytest.mark.parametrize("key_first", [False, True])
async def test_files_replaced_one_at_a_time_under_load(
    without_certificate: VaultConfig, authority: Authority, tmp_path: Path, key_first: bool
) -> None:
    """Until the two files match, the pair in force is presented and no read fails; then the new one is presented."""
    files = cert, key = issued_files(tmp_path, authority)
    async with broker_with(replace(without_certificate, cert_file=cert, key_file=key)) as broker:
        await broker.store.fetch(REF)
        strange = Authority().issue("client.example")
        await replace_under_load(partial(broker.store.fetch, REF), files, strange, key_first=key_first)
        with pytest.raises(CredentialStoreError, match="client certificate that it trusts"):
            await broker.store.fetch(REF)


@pytest.mark.parametrize("part", ["cert", "key"])
@pytest.mark.parametrize("content", [None, b"", b"x"])
async def test_a_file_that_cannot_be_used_is_named(
    without_certificate: VaultConfig, authority: Authority, tmp_path: Path, part: str, content: bytes | None
) -> None:
    """If a file is missing, empty or something else, the error names its setting."""
    files = dict(zip(("cert", "key"), issued_files(tmp_path, authority), strict=True))
    if content is None:
        files[part].unlink()
    else:
        files[part].write_bytes(content)
    config = replace(without_certificate, cert_file=files["cert"], key_file=files["key"])
    async with broker_with(config) as broker:
        with pytest.raises(CredentialStoreError, match=f"BROKER_VAULT_{part.upper()}_FILE"):
            await broker.store.fetch(REF)
