"""Servers and caches that the tests in this folder share."""

from __future__ import annotations

from tests.support.cluster_redis import redis_cluster, session_cluster
from tests.support.redis_server import own_redis, redis_server, session_redis
from tests.support.sentinel_redis import sentinel_group, session_sentinels
from tests.support.shared_caches import redis_url, shared
from tests.support.vault_server import vault_server

__all__ = [
    "own_redis",
    "redis_cluster",
    "redis_server",
    "redis_url",
    "sentinel_group",
    "session_cluster",
    "session_redis",
    "session_sentinels",
    "shared",
    "vault_server",
]
