"""`PurgeLog` on Redis: counters that scripts raise, and a stream that announces each change."""

from __future__ import annotations

from collections.abc import Sequence

from app.adapters.redis.call_failure import ForeignValueError
from app.adapters.redis.client import RedisClient
from app.adapters.redis.epoch_counter import LONGEST_COUNTER, counter
from app.adapters.redis.purge_feed import PurgeFeed
from app.adapters.redis.scripts import DISCARD_LONG, RAISE_EPOCH, RESTORE_EPOCH
from app.domain.names import CredentialRef
from app.shared_cache.key_names import DEFAULT_PREFIX, KeyNames

EPOCH_KEPT = 72 * 3600 * 1000
"""Milliseconds. A token lives 48 h at most, so none can outlive the purge that refused it."""


class RedisPurgeLog:
    """Raises epochs and announces them.

    Args:
        client: The connections.
        prefix: Beginning of all key names.

    """

    def __init__(self, client: RedisClient, prefix: str = DEFAULT_PREFIX) -> None:
        self._client = client
        self._names = KeyNames(prefix)
        self._feed = PurgeFeed(client, self._names.purges)
        self.purges = self._feed.purges

    async def raise_epoch(self, ref: CredentialRef, above: int, *, in_background: bool = False) -> int:
        """See `app.ports.PurgeLog.raise_epoch`. After an error the epoch may be raised, but not announced."""
        run = self._client.run_in_background if in_background else self._client.run
        raised = int(await run("raise_epoch", RAISE_EPOCH, [self._names.epoch(ref)], [above, EPOCH_KEPT]))
        await self._feed.announce(ref, raised, in_background=in_background)
        return raised

    async def epochs(self, refs: Sequence[CredentialRef]) -> Sequence[int]:
        """See `app.ports.PurgeLog.epochs`. One round trip per server; a key of another type reads as nothing."""
        names = [self._names.epoch(ref) for ref in refs]
        try:
            return [counter(text) for text in await self._client.values("epochs", names)]
        except ForeignValueError:
            for name in names:  # so that the next comparison succeeds
                await self._client.run("discard", DISCARD_LONG, [name], [LONGEST_COUNTER])
            raise

    async def restore_epoch(self, ref: CredentialRef, epoch: int) -> None:
        """See `app.ports.PurgeLog.restore_epoch`."""
        if await self._client.run("restore_epoch", RESTORE_EPOCH, [self._names.epoch(ref)], [epoch, EPOCH_KEPT]):
            await self._feed.announce(ref, epoch)
