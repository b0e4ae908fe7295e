"""Assembles what the commands that change credentials need: the documents, the store, and real exchanges."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.bootstrap.minting import minting_parts
from app.lifecycle.canary import Canary
from app.ports import Clock, CredentialStore, DocumentStore, EventSink
from app.service.present import Presenter
from app.settings.settings import MintingSettings


@dataclass(frozen=True, slots=True)
class CredentialTools:
    """What workflows of `app.lifecycle` use.

    Args:
        store: Reads credentials, as the broker does.
        documents: Reads and changes documents.
        canary: Makes real exchanges.

    """

    store: CredentialStore
    documents: DocumentStore
    canary: Canary


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
        yield CredentialTools(parts.store, parts.documents, Canary(presenter, settings.allowed_ims_base_urls))
