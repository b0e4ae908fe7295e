"""Promise 1 for tenants that nothing asks for: the keeper renews their tokens, and an outage finds them renewed."""

from __future__ import annotations

import asyncio
import time

from tests.support.fleet import Fleet, outcomes
from tests.support.tenants import true_expiry
from tests.support.waiting import until

LIFETIME = 40.0
"""Seconds that a token lives."""


async def test_an_outage_finds_the_token_of_a_silent_tenant_renewed(own_fleet: Fleet) -> None:
    """A tenant that asked once is served to the end of its renewed token while IMS and Vault are down, then gets 503.

    Both replicas were asked once, at the beginning. Their first token has expired when they are asked again.
    """
    replicas, tenant = own_fleet.start(2), own_fleet.tenant(token_lifetime=LIFETIME)
    first = {(await replica.token(tenant.org)).json["access_token"] for replica in replicas}
    assert len(first) == 1
    [old] = first
    await until(lambda: len(own_fleet.exchanges(tenant)) == 2, LIFETIME * 0.75)
    await asyncio.sleep(LIFETIME / 4)  # Second 10 of the new token.
    own_fleet.vault.seal()
    try:
        own_fleet.sandbox.fault("status", status=503, client_id=tenant.client_id)
        await _sleep_until(true_expiry(old) + 1)
        replies = [await replica.token(tenant.org) for replica in replicas]
        assert [reply.status for reply in replies] == [200, 200]
        [new] = {reply.json["access_token"] for reply in replies}
        await _sleep_until(true_expiry(new) - LIFETIME * 0.05)
        assert {(await replica.token(tenant.org)).json["access_token"] for replica in replicas} == {new}
        await _sleep_until(true_expiry(new))
        for replica in replicas:
            reply = await replica.token(tenant.org)
            assert (reply.status, reply.json["code"]) == (503, "vault_unavailable")
            assert int(reply.header("Retry-After") or 0) >= 1
    finally:
        own_fleet.vault.unseal()
    assert outcomes(own_fleet.exchanges(tenant)) == ["issued", "issued"]


async def test_without_a_window_a_silent_tenant_is_not_renewed(own_fleet: Fleet) -> None:
    """With BROKER_KEEP_WARM=0s no token is renewed before a caller asks for it."""
    [replica], tenant = own_fleet.start(1, KEEP_WARM="0s"), own_fleet.tenant(token_lifetime=6.0)
    token = (await replica.token(tenant.org)).json["access_token"]
    await _sleep_until(true_expiry(token))
    assert len(own_fleet.exchanges(tenant)) == 1
    assert (await replica.token(tenant.org)).status == 200


async def _sleep_until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.time()))
