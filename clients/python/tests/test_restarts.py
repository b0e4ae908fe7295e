"""The application notices nothing while brokers are restarted, one is killed, and Adobe revokes the token."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import httpx2
import pytest
import requests

from ims_token_broker_client import Broker, Httpx2Auth, RequestsAuth, Tokens
from tests.support.backends import sandbox_backend
from tests.support.broker_without_vault import BrokerWithoutVault
from tests.support.children import wait_until

CALLS = 10_000
"""Of Adobe's API: half of them with `AsyncClient`, the others with `Client` and `requests`."""


@dataclass
class Landscape:
    """Two brokers without a shared cache, one tenant, and the sandbox as Adobe."""

    first: BrokerWithoutVault
    second: BrokerWithoutVault
    org: str

    def tokens(self, max_age: float) -> Tokens:
        """What an application gets its tokens from."""
        urls = [f"http://127.0.0.1:{broker.port}" for broker in (self.first, self.second)]
        # The caller has one key, and both brokers accept it.
        return Broker(urls, api_key=self.first.replica.key).tokens(self.org, max_age=max_age)

    @property
    def api(self) -> str:
        """Adobe's API."""
        return f"{self.first.sandbox.base_url}/imp/campaigns"


@pytest.fixture
def landscape(tmp_path: Path) -> Iterator[Landscape]:
    """Both brokers run."""
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    with sandbox_backend(tmp_path) as sandbox:
        first, second = (BrokerWithoutVault(folder, sandbox) for folder in folders)
        second.policy.path.write_bytes(first.policy.path.read_bytes())
        tenant = first.tenant(sandbox_name="prod")
        second.tenant(
            sandbox_name="prod", org=tenant.org, client_id=tenant.client_id, client_secrets=tenant.client_secrets
        )
        try:
            first.start()
            second.start()
            yield Landscape(first, second, tenant.org)
        finally:
            for broker in (first, second):
                broker.replica.process.kill()


@dataclass
class Calls:
    """What became of the application's calls."""

    wanted: int
    done: int = 0
    failures: list[object] = field(default_factory=list)
    stop: Event = field(default_factory=Event)

    def more(self) -> bool:
        """Whether to make another call."""
        return self.done < self.wanted or not self.stop.is_set()

    def saw(self, status: int, body: object) -> None:
        """Count an answer of Adobe."""
        self.done += 1
        if status != 200 or not isinstance(body, dict) or body["sandbox"] != "prod":
            self.failures.append((status, body))


@pytest.mark.timeout(400)  # half a minute of CPU time, on a machine that may be loaded
def test_ten_thousand_calls_succeed_during_restarts(landscape: Landscape) -> None:
    """10,000 API calls all succeed while both brokers are restarted, one is killed and the token is revoked."""
    tokens = landscape.tokens(max_age=0.1)
    calls = [Calls(CALLS * share // 10) for share in (5, 3, 2)]
    with ThreadPoolExecutor(8) as pool:
        running = [
            pool.submit(asyncio.run, _with_async_client(landscape, tokens, calls[0])),
            *(pool.submit(_with_client, landscape, tokens, calls[1]) for _ in range(3)),
            *(pool.submit(_with_requests, landscape, tokens, calls[2]) for _ in range(2)),
        ]
        try:
            revoked = _break(landscape, tokens, calls)
        finally:
            for each in calls:
                each.stop.set()
        for future in running:
            future.result(300)
    assert [failure for each in calls for failure in each.failures] == []
    assert sum(each.done for each in calls) >= CALLS
    assert tokens.get().value != revoked


def _break(landscape: Landscape, tokens: Tokens, calls: list[Calls]) -> str:
    """Restart one broker, kill it, restart the other, and revoke the token; the revoked one."""
    for broker in (landscape.first, landscape.second):
        _pass(calls, 300)
        broker.replica.process.terminate()
        broker.replica.process.ended()
        _pass(calls, 300)
        broker.start()
    landscape.first.replica.process.kill()
    _pass(calls, 300)
    token = tokens.get()
    landscape.first.sandbox.order("POST", "/sandbox/tokens/revoke", {"token_sha256": token.sha256})
    _pass(calls, 300)
    return token.value


def _pass(calls: list[Calls], count: int) -> None:
    """Wait until the application has made more calls, of each kind."""
    reached = [each.done + count // 3 for each in calls]
    wait_until(lambda: all(each.done >= goal for each, goal in zip(calls, reached, strict=True)), "no more calls")


async def _with_async_client(landscape: Landscape, tokens: Tokens, calls: Calls) -> None:
    async def worker(client: httpx2.AsyncClient) -> None:
        while calls.more():
            answer = await client.get(landscape.api)
            calls.saw(answer.status_code, answer.json())

    async with httpx2.AsyncClient(auth=Httpx2Auth(tokens), trust_env=False) as client:
        await asyncio.gather(*(worker(client) for _ in range(8)))


def _with_client(landscape: Landscape, tokens: Tokens, calls: Calls) -> None:
    with httpx2.Client(auth=Httpx2Auth(tokens), trust_env=False) as client:
        while calls.more():
            answer = client.get(landscape.api)
            calls.saw(answer.status_code, answer.json())


def _with_requests(landscape: Landscape, tokens: Tokens, calls: Calls) -> None:
    with requests.Session() as session:
        session.trust_env = False
        session.auth = RequestsAuth(tokens)
        while calls.more():
            answer = session.post(landscape.api, json={"name": "spring"}, timeout=30)
            calls.saw(answer.status_code, answer.json())


def test_a_request_with_a_token_does_not_wait_for_a_frozen_broker(landscape: Landscape) -> None:
    """While both brokers are frozen, a request with a usable token waits for none of them."""
    tokens = landscape.tokens(max_age=0.0)
    token = tokens.get()
    for broker in (landscape.first, landscape.second):
        broker.replica.process.freeze()
    began = time.monotonic()
    try:
        assert [tokens.get().value for _ in range(100)] == [token.value] * 100
    finally:
        for broker in (landscape.first, landscape.second):
            broker.replica.process.thaw()
    assert time.monotonic() - began < 1.0
