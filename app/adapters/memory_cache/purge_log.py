"""`PurgeLog` in one process."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence

from cachetools import LRUCache

from app.domain.cache_entry import Purge
from app.domain.names import CredentialRef


class MemoryPurgeLog:
    """Epochs in a dictionary, and the latest purges in a queue.

    Args:
        capacity: Most epochs; beyond it the least recently used is forgotten.
        max_purges: How far a listener may lag; beyond it, it gets `Purge(None, 0)`.

    """

    def __init__(self, capacity: int = 100_000, max_purges: int = 10_000) -> None:
        self._epochs = LRUCache[CredentialRef, int](capacity)
        self._purges: deque[Purge] = deque(maxlen=max_purges)
        self._purge_count = 0
        self._position: int | None = None
        self._purged = asyncio.Event()

    def epoch(self, ref: CredentialRef) -> int:
        """The purge counter of `ref`; 0 if it was never raised."""
        return self._epochs.get(ref) or 0

    def learn(self, ref: CredentialRef, epoch: int) -> None:
        """Set the purge counter of `ref` without announcing it: a token proves that it had come so far."""
        self._epochs[ref] = epoch

    async def raise_epoch(self, ref: CredentialRef, above: int, *, in_background: bool = False) -> int:  # noqa: ARG002
        """See `app.ports.PurgeLog.raise_epoch`."""
        epoch = max(self.epoch(ref), above) + 1
        self._announce(ref, epoch)
        return epoch

    async def epochs(self, refs: Sequence[CredentialRef]) -> Sequence[int]:
        """See `app.ports.PurgeLog.epochs`."""
        return [self.epoch(ref) for ref in refs]

    async def restore_epoch(self, ref: CredentialRef, epoch: int) -> None:
        """See `app.ports.PurgeLog.restore_epoch`."""
        if epoch > self.epoch(ref):
            self._announce(ref, epoch)

    async def purges(self) -> AsyncIterator[Purge]:
        """Purges since the end of the last iteration, and at the first one since now; then as they happen."""
        position = self._purge_count if self._position is None else self._position
        while True:
            self._position = position
            purged = self._purged
            if self._purge_count - position > len(self._purges):
                position = self._purge_count
                yield Purge(None, 0)
            elif position < self._purge_count:
                purge = self._purges[position - self._purge_count]
                position += 1
                self._position = position
                yield purge
            else:
                await purged.wait()

    def _announce(self, ref: CredentialRef, epoch: int) -> None:
        self._epochs[ref] = epoch
        self._purges.append(Purge(ref, epoch))
        self._purge_count += 1
        self._purged.set()
        self._purged = asyncio.Event()
