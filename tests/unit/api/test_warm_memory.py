"""After a change of the policy, what was learned before is not used, and is freed in portions."""

from __future__ import annotations

import gc
from dataclasses import replace

from app.api.warm_memory import FREED_AT_ONCE, Vended
from tests.factories import make_caller, make_key
from tests.support.api_in_memory import ApiInMemory
from tests.support.remembered_queries import RememberedQueries


async def learn(warm: RememberedQueries, *queries: str) -> None:
    """Answer each query with a token of its own."""
    token = (await warm.api.replica.vend()).token
    for query in queries:
        own = replace(token, key=make_key(scopes=query[:40]))
        warm.api.replica.memory.put(own)
        await warm.learn(query, own)


def used(warm: RememberedQueries) -> int:
    """Bytes of what may be looked up and of what is still to be freed."""
    return warm.memory.queries.used + sum(former.used for former in warm.memory._former)


def in_memory() -> int:
    """The number of decisions that any warm path of this process remembers."""
    return sum(type(each) is Vended for each in gc.get_objects())


async def test_nothing_learned_under_an_earlier_policy_is_used_while_it_is_freed(api: ApiInMemory) -> None:
    """From the change on a query is only answered if it was learned again, however much is still to be freed."""
    warm = RememberedQueries(api)
    old = [f"old{number}" for number in range(10 * FREED_AT_ONCE)]
    await learn(warm, *old)
    assert warm.knows(old[-1])
    api.change_policy(make_caller("journey"))
    assert not any(map(warm.knows, old))
    for number in range(20):
        await learn(warm, f"new{number}")
        assert not any(map(warm.knows, old))
        assert sorted(query for _, _, _, query in warm.memory.queries) == sorted(
            f"new{each}".encode() for each in range(number + 1)
        )
    await learn(warm, old[0])
    assert [warm.knows(query) for query in old[:2]] == [True, False]


async def test_a_change_of_the_policy_frees_no_more_at_once_than_a_portion(api: ApiInMemory) -> None:
    """Each query that is learned frees `FREED_AT_ONCE` old ones until none is left, so the event loop never stalls."""
    gc.collect()
    warm, before = RememberedQueries(api), in_memory()
    for policy in range(3):  # The second and the third change come while some are left of the one before.
        await learn(warm, *(f"policy{policy}-{number}" for number in range(3 * FREED_AT_ONCE)))
        api.change_policy(make_caller("journey"))
    left = in_memory() - before
    assert left >= 3 * FREED_AT_ONCE
    for number in range(left):
        await learn(warm, f"new{number}")
        now = in_memory() - before
        assert left - FREED_AT_ONCE + 1 <= now
        left = now
        if left == number + 1:
            return
    raise AssertionError(f"{left} are left.")


async def test_what_is_to_be_freed_counts_against_the_limit(api: ApiInMemory) -> None:
    """A memory that is full when the policy changes never takes more than its limit while it fills again."""
    limit = 1_000 * 200
    warm = RememberedQueries(api, limit)
    await learn(warm, *(f"old{number}" for number in range(250)))
    full = used(warm)
    assert limit - 1_000 < full <= limit
    api.change_policy(make_caller("journey"))
    # They take more than the old ones, so that each needs the room of several.
    for number in range(250):
        await learn(warm, f"new{number}".ljust(900, "x"))
        assert used(warm) <= limit
    assert warm.memory.queries.used > limit - 2_000


async def test_a_change_of_the_policy_forgets_all_answers_at_once(api: ApiInMemory) -> None:
    """Old queries are freed in portions, but none of them keeps a copy of a token."""
    warm = RememberedQueries(api)
    old = [f"old{number}" for number in range(3 * FREED_AT_ONCE)]
    await learn(warm, *old)
    assert all(map(warm.knows, old))
    api.change_policy(make_caller("journey"))
    await learn(warm, "new")
    left = [vended for each in warm.memory._former for vended in each._vended.values()]
    assert len(left) >= FREED_AT_ONCE
    assert [vended for vended in left if vended.prepared is not None] == []
