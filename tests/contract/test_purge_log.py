"""What every purge log does: the one in memory, and Redis as two replicas see it."""

from __future__ import annotations

import asyncio
import time

from app.domain.cache_entry import Purge
from tests.support.cached_tokens import OTHER_KEY, REF
from tests.support.shared_caches import Shared, listen, until_listening
from tests.support.waiting import until


async def test_epoch_rises_over_what_a_replica_remembers(shared: Shared) -> None:
    """The new epoch is over the stored one and over the one the replica knows."""
    assert await shared.first.purge_log.raise_epoch(REF, 7) == 8
    assert await shared.second.purge_log.raise_epoch(REF, 0) == 9


async def test_concurrent_purges_get_different_epochs(shared: Shared) -> None:
    """No two purges share an epoch, so none can be taken for done."""
    logs = [shared.first.purge_log, shared.second.purge_log] * 10
    epochs = await asyncio.gather(*(log.raise_epoch(REF, 0) for log in logs))
    assert sorted(epochs) == list(range(1, 21))


async def test_epochs_are_read_in_order(shared: Shared) -> None:
    """The counter of each credential, 0 where there is none."""
    await shared.first.purge_log.raise_epoch(REF, 4)
    assert list(await shared.second.purge_log.epochs([OTHER_KEY.ref, REF])) == [0, 5]


async def test_a_lost_epoch_is_restored_and_told_once(shared: Shared) -> None:
    """Restoring raises the counter to what was known, tells the listeners, and never lowers or repeats it."""
    heard: list[Purge] = []
    listener = asyncio.create_task(listen(shared.second.purge_log, heard.append))
    await until_listening(shared.first.purge_log, [heard])
    heard.clear()
    for epoch in (7, 7, 3):
        await shared.first.purge_log.restore_epoch(REF, epoch)
    last = await shared.first.purge_log.raise_epoch(REF, 0)
    await until(lambda: Purge(REF, last) in heard)
    assert heard == [Purge(REF, 7), Purge(REF, 8)]
    listener.cancel()
    await asyncio.gather(listener, return_exceptions=True)


async def test_purges_are_heard_by_all(shared: Shared) -> None:
    """Each of two listeners hears a purge within a second."""
    heard: list[list[Purge]] = [[], []]
    listeners = [
        asyncio.create_task(listen(replica.purge_log, into.append))
        for replica, into in zip((shared.first, shared.second), heard, strict=True)
    ]
    await until_listening(shared.first.purge_log, heard)
    for into in heard:
        into.clear()
    began = time.monotonic()
    epoch = await shared.first.purge_log.raise_epoch(REF, 100)
    await until(lambda: all(Purge(REF, epoch) in into for into in heard))
    assert time.monotonic() - began < 1
    for listener in listeners:
        listener.cancel()
    await asyncio.gather(*listeners, return_exceptions=True)


async def test_purges_are_not_missed_between_two_iterations(shared: Shared) -> None:
    """What is purged while nobody iterates is heard first by the next iteration, once."""
    heard: list[Purge] = []
    listener = asyncio.create_task(listen(shared.first.purge_log, heard.append))
    await until_listening(shared.second.purge_log, [heard])
    listener.cancel()
    await asyncio.gather(listener, return_exceptions=True)
    epochs = [await shared.second.purge_log.raise_epoch(REF, 0) for _ in range(3)]
    heard.clear()
    listener = asyncio.create_task(listen(shared.first.purge_log, heard.append))
    await until(lambda: len(heard) >= 3)
    listener.cancel()
    await asyncio.gather(listener, return_exceptions=True)
    assert heard == [Purge(REF, epoch) for epoch in epochs]
