"""Full garbage collections in portions, so that none stalls the event loop for long.

Reference counts free nearly everything at once. Python's garbage collector frees the rest: objects that refer to each
other in a cycle. Its frequent collections look at new objects only and take less than a millisecond. A full one looks
at every object, and nothing else runs meanwhile: 0.3 s with a policy of 10,000 callers, 0.5 s with the tokens of
100,000 orgs. Python starts one when a quarter more objects have become old, such as in the middle of a reload.

Here the objects that have become old are looked at once, when they are still few, and are then frozen: the collector
does not look at them again. A frozen object is freed as before when its last reference goes. Only a cycle that is
dropped after it was frozen stays in memory. Therefore all objects are looked at again once memory has grown by half.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from collections.abc import Awaitable, Callable, Iterator

COLLECTION_SECONDS = 1.0

PORTION = 10_000
"""From this number on, old objects are looked at and frozen."""

MAX_PORTION = 50_000
"""More, about 20 ms, are frozen without a look: a new policy, most of the time, in which no cycle is."""

GROWTH = 1.5
"""All objects are looked at again if there are so many times the blocks of memory as after the last time,"""

GROWN_LOOKS = 60
"""at so many looks in a row: a reload of the policy has the old and the new one in memory for some seconds."""

_NEVER, _PYTHONS = 2**31 - 1, 10
"""Collections of the younger generation after which Python may start a full one."""


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Collect nothing within the context, and then freeze what there is: imports make many objects that all stay."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class FullCollections:
    """Replaces the full collections that Python starts by itself.

    Args:
        sleep: Sleeps for some seconds.
        blocks: The number of blocks of memory that Python has allocated.

    """

    def __init__(
        self,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        blocks: Callable[[], int] = sys.getallocatedblocks,
    ) -> None:
        self._sleep = sleep
        self._blocks = blocks
        self._blocks_before = blocks()
        self._grown_looks = 0

    async def watch(self) -> None:
        """Look at old objects until cancelled; then Python does it again."""
        gc.set_threshold(*gc.get_threshold()[:2], _NEVER)
        # Without a look, which would delay the start. What has been dropped until now is found at the next whole one.
        gc.freeze()
        self._blocks_before = self._blocks()
        try:
            while True:
                await self._sleep(COLLECTION_SECONDS)
                self.look()
        finally:
            gc.unfreeze()
            gc.set_threshold(*gc.get_threshold()[:2], _PYTHONS)

    def look(self) -> None:
        """Look at what has become old since the last look, or at everything if memory has grown for long."""
        self._grown_looks = self._grown_looks + 1 if self._blocks() > GROWTH * self._blocks_before else 0
        if self._grown_looks >= GROWN_LOOKS:
            self._look_at_all()
            return
        old = len(gc.get_objects(generation=2))
        if old < PORTION:
            return
        if old <= MAX_PORTION:
            gc.collect()
        gc.freeze()

    def _look_at_all(self) -> None:
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self._blocks_before, self._grown_looks = self._blocks(), 0
