"""A memory that is full takes from the owner with the most."""

from __future__ import annotations

from app.process.fair_memory import FairMemory


def filled(limit: int, **owners: int) -> FairMemory[str, str, int]:
    """A memory that each owner filled with so many entries, one owner after the other."""
    memory = FairMemory[str, str, int](limit)
    for owner, number in owners.items():
        for value in range(number):
            memory.keep(owner, f"{owner}{value}", value)
    return memory


def test_the_oldest_entry_of_an_owner_is_replaced() -> None:
    """An owner that is alone keeps its newest entries, as many as the limit says."""
    assert filled(3, a=5) == {"a2": 2, "a3": 3, "a4": 4}


def test_an_owner_with_many_entries_does_not_evict_one_with_few() -> None:
    """However many entries one owner adds, before or after, the others keep theirs."""
    memory = filled(10, few=2, many=100)
    assert [memory.get("few0"), memory.get("few1"), len(memory)] == [0, 1, 10]
    memory = filled(10, many=100, few=2)
    assert [memory.get("few0"), memory.get("few1"), len(memory)] == [0, 1, 10]


def test_owners_that_all_want_more_have_equal_parts() -> None:
    """Two owners that add without end have half of the limit each."""
    memory = filled(10, a=100, b=100)
    assert sorted(memory) == ["a95", "a96", "a97", "a98", "a99", "b95", "b96", "b97", "b98", "b99"]


def test_large_entries_take_the_place_of_several_small_ones() -> None:
    """The limit is on sizes, and the owner with the most by size loses entries, not the one with the most entries."""
    memory = FairMemory[str, str, int](10)
    for number in range(4):
        memory.keep("small", f"small{number}", number)
    memory.keep("large", "large0", 0, size=6)
    assert memory.used == 10
    memory.keep("small", "small4", 4)
    assert sorted(memory) == ["small0", "small1", "small2", "small3", "small4"]
    memory.keep("large", "large1", 1, size=8)
    assert sorted(memory) == ["large1", "small3", "small4"]
    assert memory.used == 10


def test_a_dropped_entry_gives_its_size_back() -> None:
    """Also one that is replaced by a smaller one; what is not there is not dropped twice."""
    memory = FairMemory[str, str, int](10)
    memory.keep("a", "a0", 0, size=6)
    memory.keep("a", "a0", 1, size=4)
    assert (memory, memory.used) == ({"a0": 1}, 4)
    for _ in range(2):
        memory.drop("a", "a0")
        assert (memory, memory.used) == ({}, 0)


def test_an_entry_that_is_kept_again_becomes_the_newest() -> None:
    """It has the new value, and no other entry is dropped for it."""
    memory = filled(3, a=3)
    memory.keep("a", "a0", 7)
    assert memory == {"a0": 7, "a1": 1, "a2": 2}
    memory.keep("a", "a3", 3)
    assert memory == {"a0": 7, "a2": 2, "a3": 3}


def test_a_cleared_memory_counts_from_zero() -> None:
    """What an owner had before `clear` does not count against it."""
    memory = filled(3, a=3)
    memory.clear()
    memory.keep("b", "b0", 0)
    memory.keep("b", "b1", 1)
    assert memory == {"b0": 0, "b1": 1}


def test_some_entries_can_be_dropped_at_a_time() -> None:
    """As many as asked for, of any owners, until none is left; what is left has its size and its owner."""
    memory = filled(10, a=3, b=4)
    for left in (5, 3, 1, 0, 0):
        memory.drop_some(2)
        assert (len(memory), memory.used) == (left, left)
    memory.keep("a", "a0", 0)
    assert memory == {"a0": 0}
