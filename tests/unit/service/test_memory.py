"""The in-memory cache: one token per key, and an older one never replaces a newer one."""

from __future__ import annotations

import pytest

from app.service.memory import TokenMemory
from tests.factories import KEY, OTHER_KEY, OTHER_REF, REF, make_key, make_token
from tests.fakes import ManualClock

CLOCK = ManualClock()
SCOPED = make_key(scopes="openid")


def test_a_token_is_found_only_under_its_own_key() -> None:
    """Neither a key of another org nor one of another scope finds it."""
    memory = TokenMemory(CLOCK, CLOCK)
    token = make_token()
    memory.put(token)
    assert memory.get(KEY) is token
    assert memory.get(OTHER_KEY) is None
    assert memory.get(SCOPED) is None


def test_a_token_that_expires_earlier_does_not_replace_a_later_one() -> None:
    """After two concurrent exchanges the later token is kept."""
    memory = TokenMemory(CLOCK, CLOCK)
    late, early = make_token(value="late"), make_token(value="early", minted_at=1_899_990_000.0)
    memory.put(late)
    memory.put(early)
    assert memory.get(KEY) is late


def test_a_token_of_a_later_epoch_replaces_one_that_expires_later() -> None:
    """After a purge the new token is kept, however short its lifetime."""
    memory = TokenMemory(CLOCK, CLOCK)
    memory.put(make_token(life=1000.0))
    renewed = make_token(life=10.0, epoch=1)
    memory.put(renewed)
    assert memory.get(KEY) is renewed


def test_a_refused_token_is_replaced_by_one_that_expires_earlier() -> None:
    """The replacement of a reported token need not expire later."""
    memory = TokenMemory(CLOCK, CLOCK)
    refused, replacement = make_token(value="refused"), make_token(value="new", life=10.0)
    memory.put(refused)
    memory.put(replacement, replacing=refused)
    assert memory.get(KEY) is replacement


def test_dropping_a_credential_drops_all_its_scopes_and_nothing_else() -> None:
    """All keys of the credential are dropped; another org's token is kept."""
    memory = TokenMemory(CLOCK, CLOCK)
    for key in (KEY, SCOPED, OTHER_KEY):
        memory.put(make_token(key))
    memory.drop(REF)
    assert memory.tokens_of(REF) == ()
    assert [token.key for token in memory.tokens_of(OTHER_REF)] == [OTHER_KEY]
    assert len(memory) == 1


def test_the_oldest_token_is_dropped_at_the_limit() -> None:
    """A third token in a memory for two drops the oldest one, from all indexes."""
    memory = TokenMemory(CLOCK, CLOCK, limit=2 * make_token(KEY).memory_bytes)
    for key in (KEY, SCOPED, OTHER_KEY):
        memory.put(make_token(key))
    assert len(memory) == 2
    assert memory.get(KEY) is None
    assert [token.key for token in memory.tokens_of(REF)] == [SCOPED]
    memory.put(make_token(make_key(scopes="session")))
    assert len(memory) == 2


def test_only_a_better_token_is_kept_again() -> None:
    """Neither the same one nor another one that expires at the same time is announced."""
    memory, kept = TokenMemory(CLOCK, CLOCK), list[str]()
    memory.when_kept(lambda held: kept.append(held.token.value))
    for value in ("one", "one", "other"):
        memory.put(make_token(value=value))
    assert kept == ["one"]


def test_the_limit_is_on_the_size_of_tokens_not_their_number() -> None:
    """A large token takes the place of several small ones, and gives it back when a small one replaces it."""
    small, large = make_token(OTHER_KEY), make_token(KEY, value="x" * 9_000)
    memory = TokenMemory(CLOCK, CLOCK, limit=large.memory_bytes + small.memory_bytes - 1)
    memory.put(small)
    memory.put(large)
    assert [memory.get(KEY), memory.get(OTHER_KEY)] == [large, None]
    memory.put(make_token(KEY, value="small"), replacing=large)
    memory.put(small)
    assert len(memory) == 2
    memory.drop(REF)
    memory.put(large)
    assert memory.get(KEY) is large


def test_the_tokens_of_one_credential_do_not_evict_those_of_others() -> None:
    """A credential with more and more sets of scopes keeps a limited number of tokens, and drops its oldest ones."""
    memory = TokenMemory(CLOCK, CLOCK, limit_of_one=3)
    memory.put(make_token(OTHER_KEY))
    for number in range(20):
        memory.put(make_token(make_key(scopes=f"s{number}")))
    memory.put(make_token(make_key(scopes="s17"), minted_at=1_900_000_001.0))  # stored again, so no longer the oldest
    memory.put(make_token(make_key(scopes="s20")))
    assert memory.get(OTHER_KEY) is not None
    assert {token.key for token in memory.tokens_of(REF)} == {make_key(scopes=f"s{number}") for number in (17, 19, 20)}
    assert len(memory) == 4


def test_a_credential_keeps_a_thousand_tokens_unless_another_number_is_given() -> None:
    """With one set of scopes more, the oldest one is dropped."""
    memory = TokenMemory(CLOCK, CLOCK)
    for number in range(1_001):
        memory.put(make_token(make_key(scopes=f"s{number}")))
    assert len(memory) == 1_000
    assert memory.get(make_key(scopes="s0")) is None


def test_one_token_is_kept_however_large_it_is() -> None:
    """A token that is larger than the limit is kept alone."""
    memory = TokenMemory(CLOCK, CLOCK, limit=10)
    memory.put(make_token(OTHER_KEY))
    memory.put(make_token())
    assert [memory.get(KEY), memory.get(OTHER_KEY)] == [make_token(), None]


def test_dropping_a_credential_without_tokens_changes_nothing() -> None:
    """A purge of what was never minted here does nothing."""
    memory = TokenMemory(CLOCK, CLOCK)
    memory.put(make_token())
    memory.drop(OTHER_REF)
    assert len(memory) == 1


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_keeper_looks_at_a_token_up_to_a_hundredth_of_its_life_after_it_is_due(share: float) -> None:
    """By the steady clock, which may have any difference to the wall clock; the delay is drawn for each token."""
    draws = list[tuple[float, float]]()

    def draw(low: float, high: float) -> float:
        draws.append((low, high))
        return low + share * (high - low)

    memory = TokenMemory(ManualClock(5_000.0), ManualClock(40.0), draw=draw)
    memory.put(make_token(minted_at=5_000.0, life=1_000.0))
    held = memory.held(KEY)
    assert held is not None
    assert draws == [(0.0, 10.0)]
    assert (held.lead, held.behind, held.due) == (4_960.0, 0.0, 540.0 + 10.0 * share)


def test_the_states_are_counted() -> None:
    """The counts by state follow the clock."""
    clock = ManualClock(0.0)
    memory = TokenMemory(clock, clock)
    memory.put(make_token(minted_at=0.0, life=1000.0))
    memory.put(make_token(OTHER_KEY, minted_at=0.0, life=2000.0))
    counted = {at: _states_at(memory, clock, at) for at in (100.0, 600.0, 920.0, 990.0)}
    assert counted == {
        100.0: {"fresh": 2},
        600.0: {"aging": 1, "fresh": 1},
        920.0: {"critical": 1, "fresh": 1},
        990.0: {"expired": 1, "fresh": 1},
    }


def test_a_refresh_does_not_count_as_a_use() -> None:
    """The new token has the last use of the old one; a token that is kept for the first time was asked for."""
    clock = ManualClock(1000.0)
    memory = TokenMemory(clock, clock)
    memory.put(make_token(minted_at=1000.0))
    clock.advance(500.0)
    memory.put(make_token(minted_at=1500.0, value="new"))
    held = memory.held(KEY)
    assert held is not None
    assert (held.token.value, held.used_at) == ("new", 1000.0)
    memory.note_use(KEY)
    assert held.used_at == 1500.0
    memory.note_use(OTHER_KEY)
    assert memory.held(OTHER_KEY) is None


def _states_at(memory: TokenMemory, clock: ManualClock, at: float) -> dict[str, int]:
    clock.now = at
    return memory.states(at)
