"""What failed is not asked again by every request, and a pause that IMS asks for binds all replicas."""

from __future__ import annotations

import re
import time
from collections import Counter
from email.utils import formatdate

import pytest

from tests.support.crowd import at_once, spread
from tests.support.fleet import Fleet, outcomes
from tests.support.replica import BrokerProcess
from tests.support.wire import exchange, request_bytes


async def test_a_thousand_requests_for_a_broken_credential_cost_two_calls(own_fleet: Fleet) -> None:
    """IMS refuses a client: a thousand requests in many waves cost at most two exchanges within a minute."""
    [replica] = own_fleet.start(1)
    broken = own_fleet.tenant(known_secrets=("another-secret-000000",))
    statuses: Counter[int] = Counter()
    for _ in range(50):
        replies = await at_once((replica, replica.token_request(broken.org)) for _ in range(20))
        statuses.update(reply.status for reply in replies)
    assert statuses == {502: 1000}
    assert 1 <= len(own_fleet.exchanges(broken)) <= 2
    own_fleet.register(broken.changed(known_secrets=None))
    repaired = broken.changed(known_secrets=None, client_secrets=("repaired-secret-000000",))
    own_fleet.store(repaired)
    own_fleet.register(repaired)

    async def served() -> bool:
        return (await replica.token(broken.org)).status == 200

    deadline = time.monotonic() + 10.0
    while not await served():
        assert time.monotonic() < deadline


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [("120", 100, 120), ("{date}", 100, 121), ("soon", 1, 5), ("-7", 1, 5), ("999999999999", 3500, 3600)],
    ids=["seconds", "date", "nonsense", "negative", "too long"],
)
async def test_every_form_of_retry_after_binds_all_replicas(fleet: Fleet, header: str, low: int, high: int) -> None:
    """After one 429 no replica calls IMS for the tenant within the pause, and callers get what is left of it."""
    tenant = fleet.tenant()
    retry_after = header.format(date=formatdate(time.time() + 120, usegmt=True))
    fleet.sandbox.fault("status", status=429, retry_after=retry_after, client_id=tenant.client_id)
    first = await fleet.replicas[0].token(tenant.org)
    replies = await at_once((replica, replica.token_request(tenant.org)) for replica in spread(fleet.replicas, 30))
    assert {reply.status for reply in (first, *replies)} == {503}
    assert all(low <= int(reply.header("retry-after") or 0) <= high for reply in (first, *replies))
    assert outcomes(fleet.exchanges(tenant)) == ["status"]


async def test_a_429_puts_further_exchanges_of_the_client_off_on_another_replica(fleet: Fleet) -> None:
    """One replica gets a 429. Another one then puts exchanges of that client off, and every caller is still served."""
    tenant = fleet.tenant()
    first, second = fleet.replicas[:2]
    before = await deferred(second)
    fleet.sandbox.fault("status", status=429, retry_after="1", client_id=tenant.client_id, count=1)
    assert (await first.token(tenant.org)).status == 503
    until_held = time.monotonic() + 1.5
    while time.monotonic() < until_held:
        await first.token(tenant.org)
    scopes = ["AdobeID", "openid", "read_organizations", "AdobeID openid", "openid read_organizations"]
    replies = await at_once((second, second.token_request(tenant.org, scope=scope)) for scope in scopes)
    assert Counter(reply.status for reply in replies) == {200: len(scopes)}
    assert await deferred(second) > before


async def deferred(replica: BrokerProcess) -> float:
    """How often a replica put an exchange off."""
    metrics = await exchange(replica.port, request_bytes("GET", "/metrics"))
    found = re.search(rb"^ims_token_broker_exchanges_deferred_total (\S+)", metrics.body, re.MULTILINE)
    assert found is not None
    return float(found[1])
