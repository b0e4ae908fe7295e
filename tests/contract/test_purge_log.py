"""What every purge log does: the one in memory, and Redis as two replicas see it."""

from __future__ import annotations

import asyncio
import time

from app.domain.cache_entry import Purge
from tests.support.cached_tokens import OTHER_KEY, REF
from tests.support.shared_caches import Shared, listen, until_listening
from tests.support.waiting import until


async def test_the_new_epoch_exceeds_every_known_one(shared: Shared) -> None:
    """The new epoch is greater than the stored one and the one that the replica knows."""
    assert await shared.first.purge_log.raise_epoch(REF, 7) == 8
    assert await shared.second.purge_log.raise_epoch(REF, 0) == 9


async def test_concurrent_purges_get_different_epochs(shared: Shared) -> None:
    """No two purges share an epoch, so none can be mistaken for one that is done."""
    logs = [shared.first.purge_log, shared.second.purge_log] * 10
    epochs = await asyncio.gather(*(log.raise_epoch(REF, 0) for log in logs))
    assert sorted(epochs) == list(range(1, 21))


async def test_epochs_are_read_in_order(shared: Shared) -> None:
    """The counter of each credential is returned, 0 if there is none."""
    await shared.first.purge_log.raise_epoch(REF, 4)
    assert list(await shared.second.purge_log.epochs([OTHER_KEY.ref, REF])) == [0, 5]


async def test_a_lost_epoch_is_restored_and_published_once(shared: Shared) -> None:
    """Restoring raises the counter to the known epoch and publishes it, and never lowers or repeats it."""
    received: list[Purge] = []
    listener = asyncio.create_task(listen(shared.second.purge_log, received.append))
    await until_listening(shared.first.purge_log, [received])
    received.clear()
    for epoch in (7, 7, 3):
        await shared.first.purge_log.restore_epoch(REF, epoch)
    last = await shared.first.purge_log.raise_epoch(REF, 0)
    await until(lambda: Purge(REF, last) in received)
    assert received == [Purge(REF, 7), Purge(REF, 8)]
    listener.cancel()
    await asyncio.gather(listener, return_exceptions=True)


async def test_all_listeners_receive_purges(shared: Shared) -> None:
    """Each of two listeners receives a purge within a second."""
    received: list[list[Purge]] = [[], []]
    listeners = [
        asyncio.create_task(listen(replica.purge_log, into.append))
        for replica, into in zip((shared.first, shared.second), received, strict=True)
    ]
    await until_listening(shared.first.purge_log, received)
    for into in received:
        into.clear()
    began = time.monotonic()
    epoch = await shared.first.purge_log.raise_epoch(REF, 100)
    await until(lambda: all(Purge(REF, epoch) in into for into in received))
    assert time.monotonic() - began < 1
    for listener in listeners:
        listener.cancel()
    await asyncio.gather(*listeners, return_exceptions=True)


async def test_no_purge_is_missed_between_two_iterations(shared: Shared) -> None:
    """Purges made between two iterations are the first that the next one yields, each once."""
    received: list[Purge] = []
    listener = asyncio.create_task(listen(shared.first.purge_log, received.append))
    await until_listening(shared.second.purge_log, [received])
    listener.cancel()
    await asyncio.gather(listener, return_exceptions=True)
    epochs = [await shared.second.purge_log.raise_epoch(REF, 0) for _ in range(3)]
    received.clear()
    listener = asyncio.create_task(listen(shared.first.purge_log, received.append))
    await until(lambda: len(received) >= 3)
    listener.cancel()
    await asyncio.gather(listener, return_exceptions=True)
    assert received == [Purge(REF, epoch) for epoch in epochs]
