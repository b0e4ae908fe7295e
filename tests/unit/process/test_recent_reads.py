"""Reads that many callers share: how many there are, and how old a result may be."""

from __future__ import annotations

import asyncio

import pytest

from app.process.recent_reads import RECENT_SECONDS, RecentReads
from tests.fakes import ManualClock, PausableCalls


class Shelf:
    """What is read: a value that a test changes; it counts the reads."""

    def __init__(self) -> None:
        self.value = "old"
        self.reads = 0
        self.failure: Exception | None = None
        self.calls = PausableCalls()
        self.clock = ManualClock()
        self.recent = RecentReads[str, str](self._read, monotonic=self.clock)

    async def _read(self, key: str) -> str:
        self.reads += 1
        if self.failure is not None:
            raise self.failure
        found = f"{key}:{self.value}"
        await self.calls.begin()
        return found


async def test_many_callers_cost_one_read() -> None:
    """Ten thousand callers at once, and those of the next two seconds, cost one read."""
    shelf = Shelf()
    found = await asyncio.gather(*(shelf.recent.get("a", recent=True) for _ in range(10_000)))
    shelf.clock.advance(RECENT_SECONDS - 0.1)
    found.append(await shelf.recent.get("a", recent=True))
    assert (set(found), shelf.reads) == ({"a:old"}, 1)


async def test_a_result_is_recent_for_two_seconds() -> None:
    """After two seconds, counted from the start of the read, the value is read again."""
    shelf = Shelf()
    await shelf.recent.get("a", recent=True)
    shelf.value = "new"
    shelf.clock.advance(RECENT_SECONDS)
    assert await shelf.recent.get("a", recent=True) == "a:new"


async def test_a_caller_that_needs_the_present_value_gets_it() -> None:
    """Callers to whom no recent result will do see a change that preceded them, though a read was running."""
    shelf = Shelf()
    shelf.calls.pause()
    early = asyncio.create_task(shelf.recent.get("a", recent=True))
    await shelf.calls.one_waits()
    shelf.value = "new"
    late = [asyncio.create_task(shelf.recent.get("a", recent=False)) for _ in range(100)]
    await asyncio.sleep(0)
    shelf.calls.resume()
    assert await early == "a:old"
    assert set(await asyncio.gather(*late)) == {"a:new"}
    assert shelf.reads == 2


async def test_an_error_is_not_kept() -> None:
    """After an error the next caller reads again."""
    shelf = Shelf()
    shelf.failure = OSError()
    with pytest.raises(OSError):
        await shelf.recent.get("a", recent=True)
    shelf.failure = None
    assert await shelf.recent.get("a", recent=True) == "a:old"
