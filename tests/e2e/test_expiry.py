"""Promise 4 in time: never an expired token, and a refresh that no caller waits for."""

from __future__ import annotations

import asyncio
import time

from tests.support.fleet import Fleet, outcomes
from tests.support.tenants import true_expiry
from tests.support.wire import Reply

LIFETIME = 12.0
"""Seconds. Long enough for a refresh at its half, short enough to see three generations of tokens."""


async def test_short_lived_tokens_are_refreshed_in_the_background_and_never_served_expired(fleet: Fleet) -> None:
    """Over three lives of a token every answer is alive, none waits for a refresh, and replicas share each refresh."""
    tenant = fleet.tenant(token_lifetime=LIFETIME)
    assert {(await replica.token(tenant.org)).status for replica in fleet.replicas} == {200}
    # From now on an exchange takes a second: a caller that waits for one is noticed.
    fleet.sandbox.fault("latency", seconds=1.0, client_id=tenant.client_id)
    slowest, tokens = 0.0, set()
    end = time.monotonic() + 1.8 * LIFETIME
    while time.monotonic() < end:
        for replica in fleet.replicas:
            reply = await replica.token(tenant.org)
            _is_alive(reply)
            slowest = max(slowest, reply.seconds)
            tokens.add(reply.json["access_token"])
        await asyncio.sleep(0.05)
    assert slowest < 0.7
    exchanges = fleet.exchanges(tenant)
    assert set(outcomes(exchanges)) == {"issued"}
    # One mint, then one refresh per half life, by whichever replica comes first.
    assert 3 <= len(tokens) <= 5
    assert len(exchanges) <= 6


async def test_a_token_past_its_end_is_not_served_even_when_ims_is_down(fleet: Fleet) -> None:
    """When no refresh succeeds, the last token is served to its end, and then a 503 says when to retry."""
    tenant = fleet.tenant(token_lifetime=6.0)
    replica = fleet.replicas[0]
    first = (await replica.token(tenant.org)).json["access_token"]
    expiry = true_expiry(first)
    fleet.sandbox.fault("status", status=503, client_id=tenant.client_id)
    replies: list[tuple[float, Reply]] = []
    while time.time() < expiry + 1:
        replies.append((time.time(), await replica.token(tenant.org)))
        await asyncio.sleep(0.1)
    good = [at for at, reply in replies if reply.status == 200]
    bad = [(at, reply) for at, reply in replies if reply.status != 200]
    assert len(good) > 40
    assert expiry - 1 < max(good) < min(at for at, _ in bad) <= expiry
    for _, reply in bad:
        assert (reply.status, reply.json["code"]) == (503, "ims_unavailable")
        assert int(reply.header("Retry-After") or 0) >= 1
    assert {reply.json["access_token"] for _, reply in replies if reply.status == 200} == {first}


async def test_min_ttl_mints_again_but_never_in_vain(fleet: Fleet) -> None:
    """A token with too little life left is replaced for a caller that asks for more; more than IMS gives is a 400."""
    tenant = fleet.tenant(token_lifetime=30.0)
    first = (await fleet.replicas[0].token(tenant.org)).json["access_token"]
    await asyncio.sleep(2.5)
    kept = await fleet.replicas[1].token(tenant.org, min_ttl=5)
    assert kept.json["access_token"] == first
    longer = await fleet.replicas[1].token(tenant.org, min_ttl=29)
    assert longer.status == 200, longer.body
    assert longer.json["access_token"] != first
    assert longer.json["expires_in"] >= 28
    too_long = await fleet.replicas[2].token(tenant.org, min_ttl=43200)
    assert (too_long.status, too_long.json["code"]) == (400, "invalid_request")
    assert len(fleet.exchanges(tenant)) <= 3


def _is_alive(reply: Reply) -> None:
    assert reply.status == 200, reply.body
    assert true_expiry(reply.json["access_token"]) > time.time()
    assert reply.json["expires_in"] >= 0
