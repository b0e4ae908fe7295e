"""The in-memory cache: one token per key, and an older one never replaces a newer one."""

from __future__ import annotations

from app.service.memory import TokenMemory
from tests.factories import KEY, OTHER_KEY, OTHER_REF, REF, make_key, make_token

SCOPED = make_key(scopes="openid")


def test_a_token_is_found_only_under_its_own_key() -> None:
    """Neither a key of another org nor one of another scope finds it."""
    memory = TokenMemory()
    token = make_token()
    memory.put(token)
    assert memory.get(KEY) is token
    assert memory.get(OTHER_KEY) is None
    assert memory.get(SCOPED) is None


def test_a_token_that_expires_earlier_does_not_replace_a_later_one() -> None:
    """After two concurrent exchanges the later token is kept."""
    memory = TokenMemory()
    late, early = make_token(value="late"), make_token(value="early", minted_at=1_899_990_000.0)
    memory.put(late)
    memory.put(early)
    assert memory.get(KEY) is late


def test_a_token_of_a_later_epoch_replaces_one_that_expires_later() -> None:
    """After a purge the new token is kept, however short its lifetime."""
    memory = TokenMemory()
    memory.put(make_token(life=1000.0))
    renewed = make_token(life=10.0, epoch=1)
    memory.put(renewed)
    assert memory.get(KEY) is renewed


def test_a_refused_token_is_replaced_by_one_that_expires_earlier() -> None:
    """The replacement of a reported token need not expire later."""
    memory = TokenMemory()
    refused, replacement = make_token(value="refused"), make_token(value="new", life=10.0)
    memory.put(refused)
    memory.put(replacement, replacing=refused)
    assert memory.get(KEY) is replacement


def test_dropping_a_credential_drops_all_its_scopes_and_nothing_else() -> None:
    """All keys of the credential are dropped; another org's token is kept."""
    memory = TokenMemory()
    for key in (KEY, SCOPED, OTHER_KEY):
        memory.put(make_token(key))
    memory.drop(REF)
    assert memory.tokens_of(REF) == ()
    assert [token.key for token in memory.tokens_of(OTHER_REF)] == [OTHER_KEY]
    assert len(memory) == 1


def test_the_oldest_token_is_dropped_at_the_limit() -> None:
    """A third token in a memory for two drops the oldest one, from all indexes."""
    memory = TokenMemory(limit=2)
    for key in (KEY, SCOPED, OTHER_KEY):
        memory.put(make_token(key))
    assert len(memory) == 2
    assert memory.get(KEY) is None
    assert [token.key for token in memory.tokens_of(REF)] == [SCOPED]


def test_the_tokens_of_one_credential_do_not_evict_those_of_others() -> None:
    """A credential with more and more sets of scopes keeps a limited number of tokens, and drops its oldest ones."""
    memory = TokenMemory(limit=10, limit_of_one=3)
    memory.put(make_token(OTHER_KEY))
    for number in range(20):
        memory.put(make_token(make_key(scopes=f"s{number}")))
    memory.put(make_token(make_key(scopes="s17"), minted_at=1_900_000_001.0))  # stored again, so no longer the oldest
    memory.put(make_token(make_key(scopes="s20")))
    assert memory.get(OTHER_KEY) is not None
    assert {token.key for token in memory.tokens_of(REF)} == {make_key(scopes=f"s{number}") for number in (17, 19, 20)}
    assert len(memory) == 4


def test_the_states_are_counted() -> None:
    """The counts by state follow the clock."""
    memory = TokenMemory()
    memory.put(make_token(minted_at=0.0, life=1000.0))
    memory.put(make_token(OTHER_KEY, minted_at=0.0, life=2000.0))
    assert memory.states(100.0) == {"fresh": 2}
    assert memory.states(600.0) == {"aging": 1, "fresh": 1}
    assert memory.states(990.0) == {"expired": 1, "fresh": 1}
