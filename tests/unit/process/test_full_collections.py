"""Full garbage collections in portions."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from app.process.full_collections import GROWN_LOOKS, GROWTH, MAX_PORTION, PORTION, FullCollections, importing


class Thing:
    """Refers to something, such as itself."""

    def __init__(self) -> None:
        self.other: object = None


@pytest.fixture(autouse=True)
def own_collector() -> Iterator[None]:
    """Python collects nothing by itself, and what was there before the test is not looked at."""
    before = gc.get_threshold()
    gc.disable()
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
    gc.enable()
    gc.set_threshold(*before)


def dropped_cycle() -> weakref.ref[Thing]:
    """A cycle that nothing refers to and that has become old."""
    thing = Thing()
    thing.other = thing
    gc.collect(1)
    return weakref.ref(thing)


def old_objects(number: int) -> list[list[None]]:
    """So many objects that have become old."""
    objects: list[list[None]] = [[] for _ in range(number)]
    gc.collect(1)
    return objects


def test_a_dropped_cycle_is_freed_with_the_next_portion() -> None:
    """A cycle that was dropped when it was old is freed by the next look that finds a portion of old objects."""
    cycle, collections = dropped_cycle(), FullCollections()
    collections.look()
    assert cycle() is not None

    kept = old_objects(PORTION)
    collections.look()

    assert cycle() is None
    assert len(kept) == PORTION


def test_a_portion_is_looked_at_once() -> None:
    """What was looked at is frozen, so that the next full collection does not look at it."""
    collections, kept = FullCollections(), old_objects(PORTION)
    collections.look()

    assert len(gc.get_objects(generation=2)) < PORTION
    assert len(gc.get_objects()) < len(kept)


def test_a_replaced_policy_is_freed_although_it_was_frozen() -> None:
    """A frozen object without a cycle is freed when its last reference goes."""
    collections, thing, kept = FullCollections(), Thing(), old_objects(PORTION)
    collections.look()
    gone = weakref.ref(thing)

    del thing

    assert gone() is None
    assert len(kept) == PORTION


def test_more_than_a_portion_is_frozen_without_a_look() -> None:
    """No look stalls the loop for long: many old objects at once are frozen, with the cycles among them."""
    cycle, collections, kept = dropped_cycle(), FullCollections(), old_objects(MAX_PORTION)
    collections.look()

    assert cycle() is not None
    assert len(gc.get_objects(generation=2)) < PORTION
    assert len(kept) == MAX_PORTION


def test_a_frozen_cycle_is_freed_when_memory_has_grown() -> None:
    """All objects are looked at again once memory has been larger by half for some minutes; not before."""
    blocks = [1000]
    collections, cycle = FullCollections(blocks=lambda: blocks[-1]), dropped_cycle()
    gc.freeze()
    blocks.append(int(1000 * GROWTH))
    collections.look()
    blocks.append(blocks[-1] + 1)
    for _ in range(GROWN_LOOKS - 1):
        collections.look()
    assert cycle() is not None

    collections.look()

    assert cycle() is None


def test_memory_that_has_grown_for_a_moment_counts_from_the_beginning() -> None:
    """A reload, which has two policies in memory for some seconds, does not make it look at all objects."""
    blocks = [1000]
    collections, cycle = FullCollections(blocks=lambda: blocks[-1]), dropped_cycle()
    gc.freeze()
    for number in (2000, 1000, 2000):
        blocks.append(number)
        for _ in range(GROWN_LOOKS - 1):
            collections.look()

    assert cycle() is not None


def failing_start() -> None:
    """Imports much, and fails."""
    with importing():
        assert not gc.isenabled()
        raise ValueError("bad")


def test_nothing_is_collected_while_the_start_imports() -> None:
    """Imports collect nothing, and what they made is frozen; afterwards Python collects again, also after an error."""
    gc.enable()
    with importing():
        kept: list[list[None]] = [[] for _ in range(PORTION)]
        assert len(gc.get_objects(generation=0)) > len(kept)
    assert len(gc.get_objects()) < len(kept)

    with pytest.raises(ValueError, match="bad"):
        failing_start()

    assert gc.isenabled()


async def test_python_starts_no_full_collection_meanwhile() -> None:
    """While it watches, old objects are frozen and Python starts only young collections; afterwards neither."""
    found: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        found.append(info["generation"])

    async def pass_by(_: float) -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(FullCollections(pass_by).watch())
    await asyncio.sleep(0)
    assert gc.get_freeze_count() > 0
    gc.callbacks.append(note)
    gc.enable()
    try:
        kept = [[None] for _ in range(1_000_000)]
        assert set(found) == {0, 1}
        task.cancel()
        await asyncio.wait([task])
        assert gc.get_freeze_count() == 0
        kept += [[None] for _ in range(3_000_000)]
        assert set(found) == {0, 1, 2}
    finally:
        gc.callbacks.remove(note)
    assert len(kept) == 4_000_000
