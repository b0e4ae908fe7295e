"""Envoy with ``credential_injector`` as `docs/gateways.md` configures it: Envoy fetches, keeps and renews the token."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.gateways.conftest import GatewaySetup, Surroundings, envoy_places
from tests.support.gateways import ORGS, belongs_to, envoy, token_in
from tests.support.tenants import true_expiry
from tests.support.waiting import until_answered

NAME = "envoy-credential-injector.yaml"
LIFETIME = 6.0
"""Seconds that a token lives."""

OWN = (
    (b"Authorization", b"Bearer mine"),
    (b"x-api-key", b"mine"),
    (b"x-gw-ims-org-id", b"mine"),
    (b"x-sandbox-name", b"mine"),
    (b"Cookie", b"a=mine"),
)


@pytest.fixture(scope="module")
def behind_injector(surroundings: Surroundings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewaySetup]:
    """The documented Envoy for a tenant with short-lived tokens."""
    tenant = surroundings.broker.tenant(token_lifetime=LIFETIME)
    real = {**surroundings.real(), **envoy_places(surroundings), ORGS[0]: tenant.org}
    real |= {
        "http://broker.internal:8080/": f"http://127.0.0.1:{surroundings.broker.port}/",
        "value: 0123456789abcdef0123456789abcdef": f"value: {tenant.client_id}",
    }
    del real[ORGS[1]]
    with envoy(tmp_path_factory.mktemp("envoy"), NAME, real) as gateway:
        yield replace(surroundings, first=tenant).around(gateway)


async def test_envoy_fetches_keeps_and_renews_the_token(behind_injector: GatewaySetup) -> None:
    """Every request carries a token that is alive, over three tokens, and Envoy asks per renewal, not per request."""

    async def has_one() -> bool:
        return (await behind_injector.gateway.ask("/imp/x")).status == 200

    # Before its first token Envoy refuses: 401, with a body of its own.
    await until_answered(has_one, 10)
    sent: list[str] = []
    end = time.monotonic() + 5 * LIFETIME
    while len(set(sent)) < 3:
        assert time.monotonic() < end, f"{len(set(sent))} tokens in {5 * LIFETIME} s"
        reply = await behind_injector.gateway.ask("/imp/x", *OWN)
        assert reply.status == 200, reply.body
        seen = behind_injector.adobe.last()
        assert belongs_to(seen, behind_injector.first)
        assert true_expiry(token_in(seen)) > time.time()
        assert "mine" not in repr(seen.headers)
        sent.append(token_in(seen))
        await asyncio.sleep(0.02)
    lines = behind_injector.broker.replica.audit_lines()
    fetched = [line for line in lines if line.get("org") == behind_injector.first.org]
    assert {(line["endpoint"], line["caller"], line["outcome"]) for line in fetched} == {
        ("/oauth2/token", "journey-sender", "vended")
    }
    assert 3 <= len(fetched) < len(sent) / 5


async def test_a_broker_that_is_away_is_not_noticed_while_the_token_lives(behind_injector: GatewaySetup) -> None:
    """With the broker killed, Envoy keeps using the token it has; with the broker back, it renews again."""
    broker = behind_injector.broker
    assert (await behind_injector.gateway.ask("/imp/x")).status == 200
    held = token_in(behind_injector.adobe.last())
    broker.replica.process.kill()
    try:
        assert (await behind_injector.gateway.ask("/imp/x")).status == 200
        assert token_in(behind_injector.adobe.last()) == held
    finally:
        broker.start()

    async def renewed() -> bool:
        reply = await behind_injector.gateway.ask("/imp/x")
        return reply.status == 200 and token_in(behind_injector.adobe.last()) != held

    await until_answered(renewed, 15)


async def test_trace_reaches_no_server_that_would_send_the_token_back(behind_injector: GatewaySetup) -> None:
    """TRACE, whose answer is the request that the server got, is refused while Envoy has a token: 405."""
    assert (await behind_injector.gateway.ask("/imp/x")).status == 200
    count = len(behind_injector.adobe.server.seen)
    assert (await behind_injector.gateway.ask("/imp/x", method="TRACE")).status == 405
    assert len(behind_injector.adobe.server.seen) == count
