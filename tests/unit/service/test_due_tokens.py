"""Which tokens are due, in turn among orgs, each with few places; entries that no longer count are removed."""

from __future__ import annotations

from app.domain.held_token import HeldToken
from app.domain.names import TokenKey
from app.service.due_tokens import MAX_KEPT_OF_ORG, MOST_STALE, DueTokens
from app.service.memory import TokenMemory
from tests.factories import KEY, OTHER_KEY, make_key, make_token
from tests.fakes import DAY, NOW, ManualClock


def kept(memory: TokenMemory, key: TokenKey, minted_at: float = NOW) -> HeldToken:
    """A token that memory holds."""
    memory.put(make_token(key, minted_at=minted_at))
    held = memory.held(key)
    assert held is not None
    return held


def test_what_is_taken_no_longer_counts() -> None:
    """The number of entries follows what is added and taken."""
    memory = TokenMemory(ManualClock(NOW), ManualClock(NOW), draw=lambda low, _high: low)
    due = DueTokens(memory)
    assert len(due) == 0
    for number, key in enumerate((KEY, OTHER_KEY), 1):
        due.add(kept(memory, key))
        assert len(due) == number
    assert due.take(NOW) is None
    taken = [due.take(NOW + DAY / 2) for _ in range(3)]
    assert taken == [memory.held(KEY), memory.held(OTHER_KEY), None]
    assert len(due) == 0


def test_an_org_has_few_places_and_gets_each_back() -> None:
    """While all are taken its next token waits; each refresh that ends gives one back."""
    memory = TokenMemory(ManualClock(NOW), ManualClock(NOW), draw=lambda low, _high: low)
    due = DueTokens(memory)
    keys = [make_key(scopes=f"s{number}") for number in range(MAX_KEPT_OF_ORG + 3)]
    for key in keys:
        due.add(kept(memory, key))
    for key in keys[:MAX_KEPT_OF_ORG]:
        assert due.take(NOW + DAY) is memory.held(key)
        due.started(key)
    assert due.take(NOW + DAY) is None
    for key in keys[:2]:
        due.ended(key)
    for key in keys[MAX_KEPT_OF_ORG : MAX_KEPT_OF_ORG + 2]:
        assert due.take(NOW + DAY) is memory.held(key)
        due.started(key)
    assert due.take(NOW + DAY) is None
    for key in keys[2 : MAX_KEPT_OF_ORG + 2]:
        due.ended(key)
    assert due._running == {}
    assert due.take(NOW + DAY) is memory.held(keys[-1])


def test_stale_entries_are_removed_when_there_are_too_many() -> None:
    """At most two for each token in memory, and a fixed number besides."""
    memory = TokenMemory(ManualClock(NOW), ManualClock(NOW), draw=lambda low, _high: low)
    due = DueTokens(memory)
    most = 2 * 1 + MOST_STALE
    for number in range(most + 1):
        due.add(kept(memory, KEY, NOW + number))
    assert len(due) == most + 1
    due.add(kept(memory, KEY, NOW + most + 1))
    assert len(due) == 1
