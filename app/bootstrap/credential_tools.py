"""Assembles what the commands that change credentials need: the documents, the store, and real exchanges."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from app.adapters.adobe_api import AdobeApiProbe
from app.adapters.adobe_console import AdobeClientSecrets
from app.adapters.certificates import certificate_not_after
from app.bootstrap.minting import egress_proxy, minting_parts
from app.lifecycle.canary import Canary
from app.lifecycle.checkup import Checkups
from app.ports import ApiProbe, ClientSecrets, Clock, CredentialStore, DocumentStore, EventSink, RemoteKeys
from app.process.ca_bundle import client_context
from app.service.present import Presenter
from app.settings.settings import MintingSettings


@dataclass(frozen=True, slots=True)
class CredentialTools:
    """What workflows of `app.lifecycle` use.

    Args:
        store: Reads credentials, as the broker does.
        documents: Reads and changes documents.
        canary: Makes real exchanges.
        checkups: Checks credentials.
        secrets_api: Opens Adobe's secrets API at a URL.
        remote_keys: By scheme, the keys of the remote signers to which a key can be moved. Empty without Vault.

    """

    store: CredentialStore
    documents: DocumentStore
    canary: Canary
    checkups: Checkups
    secrets_api: Callable[[str], AbstractAsyncContextManager[ClientSecrets]]
    remote_keys: Mapping[str, RemoteKeys]


@asynccontextmanager
async def credential_tools(settings: MintingSettings, sink: EventSink, clock: Clock) -> AsyncIterator[CredentialTools]:
    """Run the tools within the context.

    Args:
        settings: The credential store and the allowed IMS hosts.
        sink: Listens to events.
        clock: Unix time in seconds.

    Raises:
        FileError: A CA bundle is unusable.

    """
    async with minting_parts(settings, sink, clock) as parts:
        presenter = Presenter(parts.signers, parts.exchanger, clock)
        canary = Canary(presenter, settings.allowed_ims_base_urls)
        async with _api_probe(settings) as probe:
            checkups = Checkups(parts.store, canary, probe, certificate_not_after)
            yield CredentialTools(
                store=parts.store,
                documents=parts.documents,
                canary=canary,
                checkups=checkups,
                secrets_api=partial(client_secrets, settings),
                remote_keys=parts.remote_keys,
            )


@asynccontextmanager
async def client_secrets(settings: MintingSettings, console_url: str) -> AsyncIterator[ClientSecrets]:
    """Adobe's secrets API at `console_url`, through the egress proxy if there is one.

    Raises:
        FileError: The CA bundle of BROKER_IMS_CACERT, which is for all of Adobe, is unusable.

    """
    api = AdobeClientSecrets(console_url, await _trusted(settings), egress_proxy(settings))
    try:
        yield api
    finally:
        await api.aclose()


@asynccontextmanager
async def _api_probe(settings: MintingSettings) -> AsyncIterator[ApiProbe]:
    probe = AdobeApiProbe(await _trusted(settings), egress_proxy(settings))
    try:
        yield probe
    finally:
        await probe.aclose()


async def _trusted(settings: MintingSettings) -> ssl.SSLContext | None:
    return None if settings.ims_cacert is None else await asyncio.to_thread(client_context, settings.ims_cacert)
