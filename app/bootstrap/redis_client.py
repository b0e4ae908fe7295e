"""The client of the Redis that the settings name. Imported only if they name one."""

from __future__ import annotations

from collections.abc import Mapping

from app.adapters.redis import CALL_TIMEOUT, RedisClient, RedisLogin, RedisTls, sealed_counts
from app.ports import EventSink
from app.settings.redis import RedisSettings

_COUNT_TIMEOUT = 5.0
"""Seconds for one page of keys."""


def redis_client(settings: RedisSettings, sink: EventSink, timeout: float = CALL_TIMEOUT) -> RedisClient:
    """The client of the Redis that the settings name.

    Args:
        settings: Name a Redis.
        sink: Takes an event of each call.
        timeout: Seconds for one call.

    """
    password = settings.redis_password
    return RedisClient(
        settings.redis_url.get_secret_value(),
        sink,
        RedisTls(settings.redis_cacert, settings.redis_cert_file, settings.redis_key_file),
        RedisLogin(
            settings.redis_username,
            None if password is None else password.get_secret_value(),
            settings.redis_password_file,
        ),
        RedisLogin(settings.redis_sentinel_username, None, settings.redis_sentinel_password_file),
        timeout=timeout,
    )


async def counted_seals(settings: RedisSettings, sink: EventSink) -> Mapping[str, int]:
    """How many tokens in Redis each key of the ring seals, by the id of the key; empty without Redis.

    Raises:
        CacheUnavailableError: Redis does not answer, or does not allow it.

    """
    if not settings.redis_url.get_secret_value():
        return {}
    client = redis_client(settings, sink, _COUNT_TIMEOUT)
    try:
        return await sealed_counts(client, settings.redis_prefix)
    finally:
        await client.aclose()
