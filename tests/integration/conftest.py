"""Servers that the tests of this folder share."""

from tests.support.redis_server import own_redis, redis_server, session_redis
from tests.support.vault_server import vault_server

__all__ = ["own_redis", "redis_server", "session_redis", "vault_server"]
