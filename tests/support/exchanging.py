"""An exchanger with everything it needs, and a record of its events."""

from __future__ import annotations

import contextlib
import functools
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx2

from app.adapters.ims import HttpTokenExchanger, ims_client
from app.egress import EgressProxy
from tests.support.recorded_events import RecordedEvents


@dataclass(frozen=True)
class Exchanging:
    """What a test needs to make an exchange."""

    exchanger: HttpTokenExchanger
    sink: RecordedEvents
    client: httpx2.AsyncClient


@functools.cache
def _trusted() -> ssl.SSLContext:
    """The system's certificates, read once: reading them takes longer than most tests."""
    return httpx2.create_ssl_context(trust_env=False)


@contextlib.asynccontextmanager
async def exchanging(
    deadline: float = 10.0,
    max_connections: int = 200,
    *,
    verify: ssl.SSLContext | None = None,
    proxy: EgressProxy | None = None,
) -> AsyncIterator[Exchanging]:
    """An exchanger with its own client, which is closed afterwards."""
    sink = RecordedEvents()
    async with ims_client(verify or _trusted(), max_connections, proxy) as client:
        yield Exchanging(
            HttpTokenExchanger(client, time.time, sink, deadline, has_proxy=proxy is not None), sink, client
        )
