"""The API server that reviews tokens of service accounts hangs, while other callers have API keys."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from tests.support.backends import sandbox_backend
from tests.support.broker_without_vault import BrokerWithoutVault
from tests.support.issuer import AUDIENCE, SUBJECT, LocalIssuer

MANY = 200


async def test_a_review_that_hangs_costs_callers_with_api_keys_nothing(issuer: LocalIssuer, tmp_path: Path) -> None:
    """While hundreds of JWTs wait for a review that never comes, requests with API keys are served, warm and cold."""
    async with _silent_server() as port:
        with sandbox_backend(tmp_path) as sandbox:
            broker = BrokerWithoutVault(tmp_path, sandbox)
            tenants = [broker.tenant() for _ in range(6)]
            trusted = {"issuer": issuer.name, "audience": AUDIENCE, "jwks_url": issuer.url}
            reviewed = {"token_review_url": f"http://127.0.0.1:{port}/apis/authentication.k8s.io/v1/tokenreviews"}
            broker.policy.issuer({**trusted, **reviewed}, "export", SUBJECT, {"orgs": ["*"]})
            try:
                broker.start()
                org = tenants[0].org
                assert (await broker.replica.token(org)).status == 200
                jwts = [issuer.token(jti=str(number)) for number in range(MANY)]
                waiting = [asyncio.create_task(broker.replica.token(org, key=jwt)) for jwt in jwts]
                await asyncio.sleep(0.5)  # so that some have begun to wait
                for tenant in tenants:
                    assert (await broker.replica.token(tenant.org)).status == 200
                replies = await asyncio.gather(*waiting)
            finally:
                broker.replica.process.kill()
    assert {(reply.status, reply.json["code"]) for reply in replies} == {(503, "identity_unavailable")}
    assert max(reply.seconds for reply in replies) < 15


@contextlib.asynccontextmanager
async def _silent_server() -> AsyncIterator[int]:
    """A server that takes connections and answers nothing; its port."""

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while await reader.read(65536):
                pass
        writer.close()

    server = await asyncio.start_server(wait, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
