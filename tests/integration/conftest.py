"""Servers that the tests of this folder share."""

from tests.support.cluster_redis import own_cluster
from tests.support.redis_server import own_redis, redis_server, session_redis
from tests.support.sentinel_redis import own_sentinels
from tests.support.vault_server import vault_server

__all__ = ["own_cluster", "own_redis", "own_sentinels", "redis_server", "session_redis", "vault_server"]
