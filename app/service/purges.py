"""Purges: every replica drops its tokens as soon as it learns of a purge; the shared cache is updated, eventually.

No token that was minted before a purge may be stored or served after it. The epoch of the credential decides which.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from app.domain.cache_entry import Purge
from app.domain.dependency_errors import CacheUnavailableError, OverloadedError
from app.domain.events import CredentialPurged, PurgesUnpublished
from app.domain.names import CredentialRef
from app.ports import Clock, EventSink, PurgeLog
from app.service.epochs import Epochs
from app.service.memory import TokenMemory

EPOCHS_AT_ONCE = 500

_LATEST = 10**14
"""Milliseconds. A clock in the far future must not raise an epoch to where Redis cannot count on."""

MAX_OWED = 10_000
"""The number of purges that may wait for the shared cache. One more is refused, because no purge may be lost."""


@dataclass(frozen=True, slots=True)
class PurgePace:
    """The times of purges, in seconds.

    Args:
        retry: Between two attempts to reach the shared cache.
        compare: Between two comparisons of all epochs.
        last: At shutdown, for the purges that the shared cache has missed.

    """

    retry: float = 0.5
    compare: float = 300.0
    last: float = 2.0


class Purges:
    """Makes purges, follows those of other replicas, and sends the shared cache those that it has missed.

    Args:
        memory: The front cache.
        log: The purges that replicas share.
        epochs: The known purges.
        sink: Listens to events.
        clock: Unix time in seconds.
        pace: The times of retries and comparisons.

    """

    def __init__(
        self,
        memory: TokenMemory,
        log: PurgeLog,
        epochs: Epochs,
        sink: EventSink,
        clock: Clock,
        pace: PurgePace | None = None,
    ) -> None:
        self._memory = memory
        self._log = log
        self._epochs = epochs
        self._sink = sink
        self._clock = clock
        self._pace = pace or PurgePace()
        # Purges that the shared cache has missed; sent as soon as it is available again.
        self._owed: dict[CredentialRef, int] = {}
        self._is_behind = False
        self._has_work = asyncio.Event()
        # The only place that drops tokens: however this replica learns of a purge, its tokens are older.
        epochs.when_raised(memory.drop)

    async def purge(self, ref: CredentialRef) -> None:
        """Raise the epoch of `ref`: no older token is stored or served after that, on any replica.

        If the shared cache is unavailable, this replica drops its tokens at once, and the others do so when the shared
        cache is available again.

        Raises:
            OverloadedError: The shared cache is unavailable, and too many purges wait for it. This purge was not made.

        """
        # Above the time, so that an epoch is not used twice if Redis loses it in a failover, and a replica that never
        # heard of it purges.
        above = max(self._epochs.of(ref), self._owed.get(ref, 0), min(int(self._clock() * 1000), _LATEST))
        try:
            epoch = await self._log.raise_epoch(ref, above)
        except CacheUnavailableError:
            if ref not in self._owed and len(self._owed) >= MAX_OWED:
                raise OverloadedError("The shared cache is unavailable, and too many purges wait for it.") from None
            epoch = above + 1
            self._owed[ref] = epoch
            self._has_work.set()
        self._epochs.learn(ref, epoch, in_use=True)
        self._sink.emit(CredentialPurged(self._clock(), ref, epoch, "local"))

    def heard(self, purge: Purge) -> None:
        """Note that another replica purged, or may have purged while this one could not listen."""
        if purge.ref is None:
            self._fall_behind()
        elif purge.epoch > self._epochs.of(purge.ref):
            self._epochs.learn(purge.ref, purge.epoch, in_use=bool(self._memory.tokens_of(purge.ref)))
            self._sink.emit(CredentialPurged(self._clock(), purge.ref, purge.epoch, "remote"))

    async def publish_owed(self) -> None:
        """Send the shared cache all purges that it has missed.

        Raises:
            CacheUnavailableError: It is still unavailable; the purges are kept.

        """
        for ref in tuple(self._owed):
            await self._publish_one(ref, in_background=True)

    async def catch_up(self) -> None:
        """Compare all epochs with the shared cache, and drop exactly the tokens whose purge this replica has missed.

        A purge that the shared cache has lost and this replica knows is written back, and announced to all replicas. A
        replica that did not know it drops what it minted since the loss, too: its epochs do not show that the exchange
        began after the purge, and clocks, which may be wrong, must not decide about a purged token.

        Raises:
            CacheUnavailableError: It is unavailable; the comparison must be repeated.

        """
        self._is_behind = False  # First, so that a purge that is missed during the comparison causes another one.
        try:
            await self._compare_all()
        except BaseException:
            self._fall_behind()
            raise

    async def _compare_all(self) -> None:
        refs = tuple(dict.fromkeys((*self._memory.refs(), *self._epochs.refs())))
        for start in range(0, len(refs), EPOCHS_AT_ONCE):
            batch = refs[start : start + EPOCHS_AT_ONCE]
            for ref, epoch in zip(batch, await self._log.epochs(batch), strict=True):
                known = self._epochs.of(ref)
                if epoch < known:
                    await self._log.restore_epoch(ref, known)
                self.heard(Purge(ref, epoch))

    async def aclose(self) -> None:
        """Try for the last time to send the purges that the shared cache has missed."""
        try:
            async with asyncio.timeout(self._pace.last):
                await self.publish_owed()
        except (CacheUnavailableError, TimeoutError):
            self._sink.emit(PurgesUnpublished(len(self._owed)))

    async def flush(self, ref: CredentialRef) -> bool:
        """Send the shared cache the missed purge of `ref`, if any. False if it is unavailable and may be stale."""
        try:
            await self._publish_one(ref, in_background=False)
        except CacheUnavailableError:
            return False
        return True

    async def listen(self) -> None:
        """Follow the purges in the shared cache, and send those that it has missed, until cancelled.

        The tasks are separate, because the connection for commands can fail while the one that listens works. A regular
        comparison finds purges whose replica crashed before it could announce them.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            tasks.create_task(self._keep_publishing())
            tasks.create_task(self._compare())

    async def _publish_one(self, ref: CredentialRef, *, in_background: bool) -> None:
        owed = self._owed.get(ref)
        if owed is None:
            return
        # To the epoch that is known here, so that tokens minted since then stay valid; higher only if another replica
        # has raised it meanwhile.
        epoch = await self._log.raise_epoch(ref, owed - 1, in_background=in_background)
        self._epochs.learn(ref, epoch, in_use=True)
        if self._owed.get(ref) == owed:  # Otherwise there was another purge.
            del self._owed[ref]

    async def _follow(self) -> None:
        """Follow purges, and reconnect after a lost connection."""
        while True:
            with contextlib.suppress(CacheUnavailableError):
                async for purge in self._log.purges():
                    self.heard(purge)
            await asyncio.sleep(self._pace.retry)

    async def _keep_publishing(self) -> None:
        """Send owed purges and catch up as soon as there is a reason to, again and again while the cache fails."""
        while True:
            await self._has_work.wait()
            with contextlib.suppress(CacheUnavailableError):
                await self.publish_owed()
                if self._is_behind:
                    await self.catch_up()
            # After the work, not before it: whatever ends it early, and whatever is added meanwhile, the rest stays.
            if not self._owed and not self._is_behind:
                self._has_work.clear()
            await asyncio.sleep(self._pace.retry)

    async def _compare(self) -> None:
        while True:
            await asyncio.sleep(self._pace.compare)
            self._fall_behind()

    def _fall_behind(self) -> None:
        self._is_behind = True
        self._has_work.set()
