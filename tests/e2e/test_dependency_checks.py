"""A process that starts says once in its log whether it can use Vault and Redis, and serves whatever it finds."""

from __future__ import annotations

from tests.support.fleet import Fleet


async def test_a_start_says_that_vault_and_redis_can_be_used(own_fleet: Fleet) -> None:
    """With a working Vault and Redis the log has one line for each, without any request."""
    [replica] = own_fleet.start(1)
    for name in ("vault", "redis"):
        replica.process.said(rf'"dependency ready","event":{{"dependency":"{name}","ready":true}}')
    assert "not ready" not in replica.process.stderr.read_text()


async def test_a_start_says_why_redis_cannot_be_used_and_serves(own_fleet: Fleet) -> None:
    """With a database that Redis does not have, the log says so once, and callers get tokens all the same."""
    url = own_fleet.redis.server.url_as("broker", own_fleet.redis.password, database=99)
    [replica] = own_fleet.start(1, REDIS_URL=url)
    tenant = own_fleet.tenant()
    assert (await replica.token(tenant.org)).status == 200
    replica.process.said(r'"dependency not ready.*"dependency":"redis","ready":false,"reason":"Redis does not have the')
    log = replica.process.stderr.read_text()
    assert log.count("dependency not ready") == 1
    assert own_fleet.redis.password not in log
