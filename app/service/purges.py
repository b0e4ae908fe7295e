"""Purges: tokens in memory go at once, here and on every replica that hears of it; the shared cache follows.

Nothing minted before a purge may be stored or served after it. The credential's epoch says what was minted before.
"""

from __future__ import annotations

import asyncio
import contextlib

from app.domain.cache_entry import Purge
from app.domain.errors import CacheUnavailableError, OverloadedError
from app.domain.events import CredentialPurged, PurgesUnpublished
from app.domain.names import CredentialRef
from app.ports import Clock, EventSink, PurgeLog
from app.service.epochs import Epochs
from app.service.memory import TokenMemory

RETRY_SECONDS = 0.5

COMPARE_SECONDS = 300.0
EPOCHS_AT_ONCE = 500

LAST_SECONDS = 2.0
"""How long the end of the process waits for the shared cache to take what it has missed."""

MAX_OWED = 10_000
"""Purges that the shared cache may have missed; one more is refused, because a purge must not be forgotten."""


class Purges:
    """Makes purges, hears of those of other replicas, and sends the shared cache those it has missed.

    Args:
        memory: The front cache.
        log: The purges that replicas share.
        epochs: What is known of purges.
        sink: Listens to events.
        clock: Unix time in seconds.

    """

    def __init__(self, memory: TokenMemory, log: PurgeLog, epochs: Epochs, sink: EventSink, clock: Clock) -> None:
        self._memory = memory
        self._log = log
        self._epochs = epochs
        self._sink = sink
        self._clock = clock
        # Purges that the shared cache has missed; sent as soon as it is back.
        self._owed: dict[CredentialRef, int] = {}
        self._is_behind = False
        # The only place that forgets: however this replica learns of a purge, what it has in memory was minted before.
        epochs.when_raised(memory.drop)

    async def purge(self, ref: CredentialRef) -> None:
        """Raise the epoch of `ref`: nothing minted before is stored or served after, here or on any replica.

        If the shared cache is away, this replica forgets at once, and the others learn of it when the cache is back.

        Raises:
            OverloadedError: The shared cache is away and too many purges wait for it; this one has not been done.

        """
        known = max(self._epochs.of(ref), self._owed.get(ref, 0))
        try:
            epoch = await self._log.raise_epoch(ref, known)
        except CacheUnavailableError:
            if ref not in self._owed and len(self._owed) >= MAX_OWED:
                raise OverloadedError("Too many purges wait for the shared cache to come back.") from None
            epoch = known + 1
            self._owed[ref] = epoch
        self._epochs.learn(ref, epoch)
        self._sink.emit(CredentialPurged(self._clock(), ref, epoch, "local"))

    def heard(self, purge: Purge) -> None:
        """Another replica purged, or may have purged while this one could not listen."""
        if purge.ref is None:
            self._is_behind = True
        elif purge.epoch > self._epochs.of(purge.ref):
            self._epochs.learn(purge.ref, purge.epoch)
            self._sink.emit(CredentialPurged(self._clock(), purge.ref, purge.epoch, "remote"))

    async def settle(self) -> None:
        """Send the shared cache all purges that it has missed.

        Raises:
            CacheUnavailableError: It is still away; what it has missed is kept.

        """
        for ref in tuple(self._owed):
            await self._settle(ref)

    async def catch_up(self) -> None:
        """Compare epochs with the shared cache: drop what was purged without this replica hearing of it, nothing else.

        A purge that the shared cache has lost and this replica knows is written back, and announced to all replicas.

        Raises:
            CacheUnavailableError: It is away; the comparison must be repeated.

        """
        self._is_behind = False  # First, so that a purge that is missed meanwhile causes one more comparison.
        try:
            await self._compare_all()
        except BaseException:
            self._is_behind = True
            raise

    async def _compare_all(self) -> None:
        refs = tuple({*self._memory.refs(), *self._epochs.refs()})
        for start in range(0, len(refs), EPOCHS_AT_ONCE):
            batch = refs[start : start + EPOCHS_AT_ONCE]
            for ref, epoch in zip(batch, await self._log.epochs(batch), strict=True):
                known = self._epochs.of(ref)
                if epoch < known:
                    await self._log.restore_epoch(ref, known)
                self.heard(Purge(ref, epoch))

    async def aclose(self) -> None:
        """Try once more to send what the shared cache has missed: after this, no one will."""
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await self.settle()
        except (CacheUnavailableError, TimeoutError):
            self._sink.emit(PurgesUnpublished(len(self._owed)))

    async def flush(self, ref: CredentialRef) -> bool:
        """Send the shared cache what it is owed for `ref`. False if it is away: what it has may then be too old."""
        try:
            await self._settle(ref)
        except CacheUnavailableError:
            return False
        return True

    async def listen(self) -> None:
        """Follow the shared cache's purges and send what it has missed, until cancelled.

        Separate tasks: a purge can fail on the connection for commands while the one that listens works. A regular
        comparison finds purges whose replica ended before it could announce them.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            tasks.create_task(self._settle_on())
            tasks.create_task(self._compare())

    async def _settle(self, ref: CredentialRef) -> None:
        owed = self._owed.get(ref)
        if owed is None:
            return
        self._epochs.learn(ref, await self._log.raise_epoch(ref, owed))
        if self._owed.get(ref) == owed:  # Else it was purged once more meanwhile.
            del self._owed[ref]

    async def _follow(self) -> None:
        """After a lost connection, go on where it broke."""
        while True:
            with contextlib.suppress(CacheUnavailableError):
                async for purge in self._log.purges():
                    self.heard(purge)
            await asyncio.sleep(RETRY_SECONDS)

    async def _settle_on(self) -> None:
        while True:
            with contextlib.suppress(CacheUnavailableError):
                await self.settle()
                if self._is_behind:
                    await self.catch_up()
            await asyncio.sleep(RETRY_SECONDS)

    async def _compare(self) -> None:
        while True:
            await asyncio.sleep(COMPARE_SECONDS)
            self._is_behind = True
