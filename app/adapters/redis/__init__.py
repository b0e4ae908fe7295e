"""The cache that replicas share, in Redis: tokens sealed, scripts atomic, every call with a deadline."""

from app.adapters.redis.cache import RedisTokenCache
from app.adapters.redis.client import RedisClient
from app.adapters.redis.key_ring import KeyRing, KeyRingError, load_key_ring
from app.adapters.redis.lease import RedisLease
from app.adapters.redis.login import RedisLogin

__all__ = ["KeyRing", "KeyRingError", "RedisClient", "RedisLease", "RedisLogin", "RedisTokenCache", "load_key_ring"]
