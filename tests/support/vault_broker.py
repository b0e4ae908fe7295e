"""The broker's side of Vault, ready for tests: sessions and stores, closed when a block ends."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from app.adapters.vault import VaultConfig, VaultCredentialStore, VaultSession
from app.adapters.vault.threads import BoundedThreads
from tests.support.documents import ALLOWED, CANARY, oauth_document, ref_of
from tests.support.http_stand_in import Script, ScriptedReply
from tests.support.recorded_events import RecordedEvents
from tests.support.vault_server import MOUNT, PREFIX, VaultServer

REF = ref_of(1)
TOKEN = f"hvs.{CANARY}"
FOUND = ScriptedReply(200, {"data": {"data": oauth_document(REF), "metadata": {"version": 3}}})
NEVER_EXPIRES = ScriptedReply(200, {"data": {"ttl": 0, "renewable": False}})


class VaultSessionAndStore:
    """A session with its store and its events."""

    def __init__(self, config: VaultConfig) -> None:
        self.events = RecordedEvents()
        # Renewals exactly at two thirds: the jitter is tested elsewhere.
        self.session = VaultSession(config, self.events, draw=lambda: 0.5)
        self.store = VaultCredentialStore(self.session, MOUNT, PREFIX, ALLOWED)


@contextlib.asynccontextmanager
async def broker_with(config: VaultConfig) -> AsyncIterator[VaultSessionAndStore]:
    """A broker for the length of a block."""
    broker = VaultSessionAndStore(config)
    try:
        yield broker
    finally:
        await broker.session.aclose()


def approle_config(server: VaultServer, role: str, **options: object) -> VaultConfig:
    """Settings for a new AppRole that may read."""
    role_id, secret_id = server.approle(role, server.reader_policy(), **options)
    return VaultConfig(addr=server.addr, auth="approle", role_id=role_id, secret_id=secret_id)


def token_config(server: VaultServer, token: str) -> VaultConfig:
    """Settings for a token."""
    return VaultConfig(addr=server.addr, token=token)


@contextlib.asynccontextmanager
async def store_at(
    addr: str,
    deadline: float = 4.0,
    threads: BoundedThreads | None = None,
    namespace: str | None = None,
    cacert: Path | None = None,
) -> AsyncIterator[VaultCredentialStore]:
    """A store at `addr` with a given token."""
    config = VaultConfig(addr=addr, token=TOKEN, deadline=deadline, namespace=namespace, cacert=cacert)
    session = VaultSession(config, RecordedEvents(), threads=threads)
    try:
        yield VaultCredentialStore(session, "secret", "ims", ALLOWED)
    finally:
        await session.aclose()


def reads(reply: ScriptedReply) -> Script:
    """A Vault that takes the token and answers reads with `reply`."""
    return lambda seen: NEVER_EXPIRES if seen.path.endswith("lookup-self") else reply
