"""The shared cache in Redis: tokens sealed, scripts atomic, every call with a deadline."""

from app.adapters.redis.cache import RedisTokenCache
from app.adapters.redis.client import CALL_TIMEOUT, RedisClient
from app.adapters.redis.lease import RedisLease
from app.adapters.redis.login_provider import RedisLogin
from app.adapters.redis.purge_log import RedisPurgeLog
from app.adapters.redis.redis_budget import RedisExchangeBudget
from app.adapters.redis.redis_diagnosis import RedisDiagnosis
from app.adapters.redis.redis_limits import RedisLimitShares
from app.adapters.redis.sealed_counts import sealed_counts
from app.adapters.redis.tls_contexts import RedisTls

__all__ = [
    "CALL_TIMEOUT",
    "RedisClient",
    "RedisDiagnosis",
    "RedisExchangeBudget",
    "RedisLease",
    "RedisLimitShares",
    "RedisLogin",
    "RedisPurgeLog",
    "RedisTls",
    "RedisTokenCache",
    "sealed_counts",
]
