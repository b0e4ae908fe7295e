"""`Lease` on Redis: one random value per holder, a short life, and compare before renewing or removing."""

from __future__ import annotations

import secrets

from cachetools import LRUCache

from app.adapters.redis.client import RedisClient
from app.adapters.redis.scripts import ACQUIRE, RELEASE, RENEW
from app.domain.names import TokenKey
from app.shared_cache.key_names import DEFAULT_PREFIX, KeyNames

LEASE_MILLISECONDS = 5000
"""Longer than a few missed renewals of one second each, short enough for the successor of a dead holder."""

Holders = dict[TokenKey, str]
"""The holder's value of each lease that this replica has taken; empty if it was given back along with a token."""

_HOLDER_BYTES = 16
_MAX_UNCERTAIN = 1024


class RedisLease:
    """The right to exchange.

    Args:
        client: The connections.
        prefix: Beginning of all key names.
        milliseconds: Life of a lease that is not renewed.
        holders: The leases that were taken. `RedisTokenCache.store` gives them back along with a token.

    """

    def __init__(
        self,
        client: RedisClient,
        prefix: str = DEFAULT_PREFIX,
        milliseconds: int = LEASE_MILLISECONDS,
        holders: Holders | None = None,
    ) -> None:
        self._client = client
        self._names = KeyNames(prefix)
        self._milliseconds = milliseconds
        self._holders: Holders = {} if holders is None else holders
        # Values whose answer never came. Redis may have stored them all the same, so that the lease would be held by
        # no one: the next try for the key shows the same value again.
        self._uncertain = LRUCache[TokenKey, str](_MAX_UNCERTAIN)

    async def acquire(self, key: TokenKey) -> str | None:
        """See `app.ports.Lease.acquire`."""
        holder = self._uncertain.pop(key, None) or secrets.token_hex(_HOLDER_BYTES)
        try:
            acquired = await self._client.run(
                "acquire", ACQUIRE, [self._names.lease(key)], [holder, self._milliseconds]
            )
        except BaseException:  # a cancelled attempt is as uncertain as one that timed out
            self._uncertain[key] = holder
            raise
        if not acquired:
            return None
        self._holders[key] = holder
        return holder

    async def renew(self, key: TokenKey, holder: str) -> bool:
        """See `app.ports.Lease.renew`."""
        return bool(await self._client.run("renew", RENEW, [self._names.lease(key)], [holder, self._milliseconds]))

    async def release(self, key: TokenKey, holder: str) -> None:
        """See `app.ports.Lease.release`. No command, if a token was stored meanwhile."""
        if self._holders.pop(key, holder):
            await self._client.run("release", RELEASE, [self._names.lease(key)], [holder])
