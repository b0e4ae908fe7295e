"""Assembles what mints tokens: the credential store, the signers and IMS. No Redis, policy, audit log or server."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import httpx2

from app.adapters.certificates import certificate_not_after
from app.adapters.directory import DirectoryCredentialStore, DirectoryDocuments
from app.adapters.ims import HttpTokenExchanger, ims_client
from app.adapters.jose_signer import JoseAssertionSigner
from app.domain.signing import StoredKey
from app.egress import EgressProxy
from app.ports import AssertionSigner, Clock, CredentialStore, DocumentStore, EventSink, RemoteKeys, TokenExchanger
from app.process.ca_bundle import client_context
from app.service.mint import Minter
from app.settings.no_proxy import parse_no_proxy
from app.settings.settings import MintingSettings

Outgoing = Callable[[], Mapping[str, str]]
"""Header fields that are sent with each call to Vault or IMS, such as ``traceparent``."""


@dataclass(frozen=True, slots=True)
class Minting:
    """The running parts that mint tokens.

    Args:
        store: The credential store.
        minter: Exchanges a credential for a token.
        vault_token_remaining: Seconds until the broker's Vault token expires; NaN without Vault.
        vault_breaker_open: Whether the circuit breaker of Vault is open; never without Vault.
        ims_breaker_open: Whether the circuit breaker of any IMS host is open.

    """

    store: CredentialStore
    minter: Minter
    vault_token_remaining: Callable[[], float]
    vault_breaker_open: Callable[[], bool]
    ims_breaker_open: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class MintingParts:
    """What a token is minted from.

    Args:
        store: The credential store.
        documents: Its documents, for commands that change them.
        signers: The signer of each scheme of keys.
        remote_keys: By scheme, the keys of the remote signers to which commands can move a key.
        exchanger: Exchanges grants at IMS.
        vault_token_remaining: See `Minting`.
        vault_breaker_open: As of `Minting`.
        ims_breaker_open: As of `Minting`.

    """

    store: CredentialStore
    documents: DocumentStore
    signers: Mapping[str, AssertionSigner]
    remote_keys: Mapping[str, RemoteKeys]
    exchanger: TokenExchanger
    vault_token_remaining: Callable[[], float]
    vault_breaker_open: Callable[[], bool]
    ims_breaker_open: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class _Credentials:
    """The credential store, its documents, and the signers whose keys are in it, by scheme."""

    store: CredentialStore
    documents: DocumentStore
    signers: Mapping[str, AssertionSigner] = field(default_factory=dict)
    remote_keys: Mapping[str, RemoteKeys] = field(default_factory=dict)
    token_remaining: Callable[[], float] = lambda: math.nan
    breaker_open: Callable[[], bool] = lambda: False


@asynccontextmanager
async def minting(
    settings: MintingSettings,
    sink: EventSink,
    clock: Clock,
    outgoing: Outgoing = dict,
    heeding: Callable[[CredentialStore], CredentialStore] = lambda store: store,
) -> AsyncIterator[Minting]:
    """Run the parts that mint tokens within the context.

    Args:
        settings: The credential store and the allowed IMS hosts.
        sink: Listens to events.
        clock: Unix time in seconds.
        outgoing: Header fields that are sent with each call.
        heeding: Wraps the credential store, to heed what its documents say.

    Raises:
        FileError: A CA bundle is unusable.

    """
    async with minting_parts(settings, sink, clock, outgoing) as parts:
        store = heeding(parts.store)
        minter = Minter(store, parts.signers, parts.exchanger, certificate_not_after, sink, clock)
        yield Minting(store, minter, parts.vault_token_remaining, parts.vault_breaker_open, parts.ims_breaker_open)


@asynccontextmanager
async def minting_parts(
    settings: MintingSettings, sink: EventSink, clock: Clock, outgoing: Outgoing = dict
) -> AsyncIterator[MintingParts]:
    """Run the parts from which `minting` is assembled. Arguments and errors as there."""
    async with AsyncExitStack() as stack:
        credentials = _credentials(settings, stack, sink, outgoing)
        key_signer = JoseAssertionSigner()
        stack.callback(key_signer.close)
        exchanger = HttpTokenExchanger(
            await _ims_client(settings, stack), clock, sink, outgoing=outgoing, has_proxy=settings.proxy_url is not None
        )
        signers: dict[str, AssertionSigner] = {
            StoredKey.scheme: key_signer,
            **credentials.signers,
            **_kms_signer(settings, stack, sink),
        }
        yield MintingParts(
            store=credentials.store,
            documents=credentials.documents,
            signers=signers,
            remote_keys=credentials.remote_keys,
            exchanger=exchanger,
            vault_token_remaining=credentials.token_remaining,
            vault_breaker_open=credentials.breaker_open,
            ims_breaker_open=lambda: exchanger.breaker_is_open,
        )


def _credentials(settings: MintingSettings, stack: AsyncExitStack, sink: EventSink, outgoing: Outgoing) -> _Credentials:
    allowed = settings.allowed_ims_base_urls
    if settings.credential_store == "directory":
        assert settings.credential_dir is not None  # noqa: S101  # the settings require it
        directory = DirectoryCredentialStore(settings.credential_dir, allowed)
        files = DirectoryDocuments(settings.credential_dir)
        stack.push_async_callback(directory.aclose)
        stack.push_async_callback(files.aclose)
        return _Credentials(directory, files)
    return _in_vault(settings, stack, sink, outgoing)


def _in_vault(settings: MintingSettings, stack: AsyncExitStack, sink: EventSink, outgoing: Outgoing) -> _Credentials:
    """Credentials in Vault. Only then is its client imported."""
    from app.adapters.vault import (
        VaultCredentialStore,
        VaultDocuments,
        VaultSession,
        VaultTransitKeys,
        VaultTransitSigner,
    )
    from app.bootstrap.vault_config import vault_config

    allowed = settings.allowed_ims_base_urls
    session = VaultSession(vault_config(settings), sink, outgoing=outgoing)
    stack.push_async_callback(session.aclose)
    session.start()
    store = VaultCredentialStore(
        session, settings.vault_mount, settings.vault_prefix, allowed, settings.vault_kv_version
    )
    documents = VaultDocuments(session, settings.vault_mount, settings.vault_prefix, settings.vault_kv_version)
    signers = {"transit": VaultTransitSigner(session, settings.vault_transit_mount)}
    keys = {"transit": VaultTransitKeys(session, settings.vault_transit_mount)}
    return _Credentials(store, documents, signers, keys, session.remaining, lambda: session.circuit_is_open)


def _kms_signer(settings: MintingSettings, stack: AsyncExitStack, sink: EventSink) -> Mapping[str, AssertionSigner]:
    """The signer of AWS KMS, if it is configured. Only then is the AWS SDK imported."""
    if settings.kms_region is None:
        return {}
    from app.adapters.aws_kms import KmsConfig, KmsSigner

    signer = KmsSigner(KmsConfig(settings.kms_region, settings.kms_endpoint_url, egress_proxy(settings)), sink)
    stack.callback(signer.close)
    return {"kms": signer}


def egress_proxy(settings: MintingSettings) -> EgressProxy | None:
    """The proxy for connections to the internet, or None."""
    if settings.proxy_url is None:
        return None
    return EgressProxy(
        settings.proxy_url, settings.proxy_username, settings.proxy_password_file, parse_no_proxy(settings.no_proxy)
    )


async def _ims_client(settings: MintingSettings, stack: AsyncExitStack) -> httpx2.AsyncClient:
    verify = None if settings.ims_cacert is None else await asyncio.to_thread(client_context, settings.ims_cacert)
    client = ims_client(verify, proxy=egress_proxy(settings))
    stack.push_async_callback(client.aclose)
    return client
