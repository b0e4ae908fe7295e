"""Servers and caches that the tests in this folder share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.redis_server import RedisServer, own_redis, redis_server, session_redis
from tests.support.shared_caches import Shared, shared_memory, shared_redis
from tests.support.vault_server import vault_server

__all__ = ["own_redis", "redis_server", "session_redis", "shared", "vault_server"]


@pytest.fixture(params=["memory", "redis"])
async def shared(request: pytest.FixtureRequest) -> AsyncIterator[Shared]:
    """Each kind of shared cache in turn, empty."""
    if request.param == "memory":
        yield shared_memory()
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    async with shared_redis(server.url) as redis:
        yield redis
