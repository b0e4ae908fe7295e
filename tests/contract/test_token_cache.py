"""What every token cache does alike: the one in memory, and Redis seen by two replicas."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

import pytest

from app.adapters.memory_cache import MemoryTokenCache
from app.adapters.redis import RedisClient, RedisTokenCache
from app.domain.access_token import AccessToken
from app.domain.names import TokenKey
from app.ports import CacheEntry, Purge, StoreOutcome, TokenCache
from tests.support.cached_tokens import ALL_KEYS, KEY, OTHER_KEY, REF, key_ring, token_of
from tests.support.recorded_events import RecordedEvents
from tests.support.redis_server import RedisServer

DEADLINE = 5.0


@dataclass
class Shared:
    """One cache as two replicas see it; in memory they are one."""

    first: TokenCache
    second: TokenCache


@pytest.fixture(params=["memory", "redis"])
async def shared(request: pytest.FixtureRequest) -> AsyncIterator[Shared]:
    """Each kind of cache in turn, empty."""
    if request.param == "memory":
        memory = MemoryTokenCache(time.time)
        yield Shared(memory, memory)
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    sink = RecordedEvents()
    clients = [RedisClient(server.url, sink) for _ in range(2)]
    first, second = (RedisTokenCache(client, key_ring("k1"), sink) for client in clients)
    yield Shared(first, second)
    for client in clients:
        await client.aclose()


def new(key: TokenKey = KEY, *, older_by: float = 0.0, epoch: int = 0, value: str = "eyJ.a") -> AccessToken:
    """A token minted now, or some seconds ago."""
    return token_of(key, value, minted_at=round(time.time(), 3) - older_by, epoch=epoch)


class TestTokenCache:
    """The contract."""

    async def test_empty(self, shared: Shared) -> None:
        """Nothing is known of a key that was never written."""
        assert await shared.first.read(KEY) == CacheEntry(None, 0, 0.0)

    @pytest.mark.parametrize("key", ALL_KEYS, ids=lambda key: f"{key.ref.name}{key.selection.label}")
    async def test_stored_token_is_read_whole(self, shared: Shared, key: TokenKey) -> None:
        """Another replica reads every field of a stored token."""
        token = new(key)
        assert await shared.first.store(token) is StoreOutcome.STORED
        assert (await shared.second.read(key)).token == token

    async def test_keys_do_not_meet(self, shared: Shared) -> None:
        """Keys that differ in the org, the credential, or the scopes and their sense alone are different keys."""
        for key in ALL_KEYS:
            assert (await shared.first.read(key)).token is None
            await shared.first.store(new(key, value=f"eyJ.{hash(key)}"))
        for key in ALL_KEYS:
            token = (await shared.second.read(key)).token
            assert token is not None
            assert (token.key, token.value) == (key, f"eyJ.{hash(key)}")

    @pytest.mark.parametrize("older_by", [0.0, 0.001, 60.0])
    async def test_token_that_expires_no_later_is_refused(self, shared: Shared, older_by: float) -> None:
        """A token that expires earlier or at the same time as the stored one is not stored."""
        stored = new()
        await shared.first.store(stored)
        late = replace(stored, value="eyJ.late", expires_at=stored.expires_at - older_by)
        assert await shared.second.store(late) is StoreOutcome.OLDER
        assert (await shared.first.read(KEY)).token == stored

    async def test_later_token_replaces(self, shared: Shared) -> None:
        """A token that expires later takes the stored one's place."""
        await shared.first.store(new(older_by=10))
        later = new(value="eyJ.later")
        assert await shared.second.store(later) is StoreOutcome.STORED
        assert (await shared.first.read(KEY)).token == later

    async def test_expiry_never_decreases_under_concurrency(self, shared: Shared) -> None:
        """Of fifty tokens stored at once by two replicas in any order, the last to expire is there in the end."""
        tokens = [new(older_by=age, value=f"eyJ.{age}") for age in range(50)]
        random.shuffle(tokens)
        caches = [shared.first, shared.second]
        await asyncio.gather(*(caches[index % 2].store(token) for index, token in enumerate(tokens)))
        token = (await shared.first.read(KEY)).token
        assert token is not None
        assert token.value == "eyJ.0"

    async def test_refused_token_is_replaced_by_one_that_expires_no_later(self, shared: Shared) -> None:
        """The token that Adobe refused may be replaced by a shorter one; a token that is already newer may not."""
        refused = new(value="eyJ.refused")
        await shared.first.store(refused)
        shorter = new(older_by=100, value="eyJ.shorter")
        assert await shared.first.store(shorter, replacing=refused) is StoreOutcome.STORED
        assert (await shared.second.read(KEY)).token == shorter
        newer = new(older_by=50, value="eyJ.newer")
        await shared.first.store(newer)
        assert await shared.second.store(new(older_by=100), replacing=refused) is StoreOutcome.OLDER
        assert (await shared.first.read(KEY)).token == newer

    async def test_purge_hides_what_was_there(self, shared: Shared) -> None:
        """After a purge no replica reads the token, and the epoch is told; another tenant keeps its token."""
        await shared.first.store(new())
        await shared.first.store(new(OTHER_KEY))
        assert await shared.first.raise_epoch(REF, 0) == 1
        assert await shared.second.read(KEY) == CacheEntry(None, 1, 0.0)
        assert (await shared.second.read(OTHER_KEY)).token is not None

    async def test_token_minted_before_a_purge_is_refused(self, shared: Shared) -> None:
        """An exchange that a purge overtook cannot store its token; one that began after can, however short-lived."""
        await shared.first.store(new())
        await shared.first.raise_epoch(REF, 0)
        assert await shared.second.store(new()) is StoreOutcome.STALE_EPOCH
        assert (await shared.first.read(KEY)).token is None
        after = new(older_by=1000, epoch=1)
        assert await shared.second.store(after) is StoreOutcome.STORED
        assert (await shared.first.read(KEY)).token == after

    async def test_replacing_does_not_overrule_a_purge(self, shared: Shared) -> None:
        """A report's replacement minted before a purge is refused like any other token."""
        reported = new()
        await shared.first.store(reported)
        await shared.first.raise_epoch(REF, 0)
        assert await shared.first.store(new(), replacing=reported) is StoreOutcome.STALE_EPOCH

    async def test_epoch_rises_over_what_a_replica_remembers(self, shared: Shared) -> None:
        """The new epoch is over the stored one and over the one the replica knows."""
        assert await shared.first.raise_epoch(REF, 7) == 8
        assert await shared.second.raise_epoch(REF, 0) == 9

    async def test_epoch_comes_back_with_a_token(self, shared: Shared) -> None:
        """A cache that lost an epoch learns it from the next token, and refuses older ones again."""
        assert await shared.first.store(new(older_by=10, epoch=5)) is StoreOutcome.STORED
        assert (await shared.second.read(KEY)).epoch == 5
        assert await shared.second.store(new(epoch=4)) is StoreOutcome.STALE_EPOCH

    async def test_concurrent_purges_get_different_epochs(self, shared: Shared) -> None:
        """No two purges share an epoch, so none can be taken for done."""
        caches = [shared.first, shared.second] * 10
        epochs = await asyncio.gather(*(cache.raise_epoch(REF, 0) for cache in caches))
        assert sorted(epochs) == list(range(1, 21))

    async def test_hold(self, shared: Shared) -> None:
        """A hold is told to all replicas, is never shortened, ends by itself, and is at most an hour."""
        await shared.first.hold(REF, 100)
        await shared.second.hold(REF, 5)
        assert 99 < (await shared.second.read(KEY)).hold <= 100
        await shared.first.hold(REF, 1e9)
        assert 3599 < (await shared.second.read(KEY)).hold <= 3600
        assert (await shared.first.read(OTHER_KEY)).hold == 0

    @pytest.mark.parametrize("seconds", [0.0, -5.0])
    async def test_no_hold(self, shared: Shared, seconds: float) -> None:
        """A hold of no time is none."""
        await shared.first.hold(REF, seconds)
        assert (await shared.first.read(KEY)).hold == 0

    async def test_one_replacement_per_window(self, shared: Shared) -> None:
        """Of many claims one is granted; another one when the window is over, and one per credential."""
        caches = [shared.first, shared.second] * 10
        claims = await asyncio.gather(*(cache.claim_replacement(REF, 0.2) for cache in caches))
        assert claims.count(True) == 1
        assert await shared.first.claim_replacement(OTHER_KEY.ref, 0.2)
        end = time.monotonic() + DEADLINE
        while not await shared.second.claim_replacement(REF, 60):
            assert time.monotonic() < end
            await asyncio.sleep(0.01)

    async def test_a_returned_replacement_can_be_claimed_again(self, shared: Shared) -> None:
        """Who gives a claim back leaves it to whoever comes next; giving back what nobody has is nothing."""
        assert await shared.first.claim_replacement(REF, 60)
        await shared.first.return_replacement(REF)
        assert await shared.second.claim_replacement(REF, 60)
        assert not await shared.first.claim_replacement(REF, 60)
        await shared.first.return_replacement(OTHER_KEY.ref)

    async def test_epochs_are_read_in_order(self, shared: Shared) -> None:
        """The counter of each credential, 0 where there is none."""
        await shared.first.raise_epoch(REF, 4)
        assert list(await shared.second.epochs([OTHER_KEY.ref, REF])) == [0, 5]

    async def test_a_lost_epoch_is_restored_and_told_once(self, shared: Shared) -> None:
        """Restoring raises the counter to what was known, tells the listeners, and never lowers or repeats it."""
        heard: list[Purge] = []
        listener = asyncio.create_task(_listen(shared.second, heard.append))
        await _until_listening(shared.first, [heard])
        heard.clear()
        for epoch in (7, 7, 3):
            await shared.first.restore_epoch(REF, epoch)
        last = await shared.first.raise_epoch(REF, 0)
        await _until(lambda: Purge(REF, last) in heard)
        assert heard == [Purge(REF, 7), Purge(REF, 8)]
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)

    async def test_purges_are_heard_by_all(self, shared: Shared) -> None:
        """Each of two listeners hears a purge within a second."""
        heard: list[list[Purge]] = [[], []]
        listeners = [
            asyncio.create_task(_listen(cache, into.append))
            for cache, into in zip((shared.first, shared.second), heard, strict=True)
        ]
        await _until_listening(shared.first, heard)
        for into in heard:
            into.clear()
        began = time.monotonic()
        epoch = await shared.first.raise_epoch(REF, 100)
        await _until(lambda: all(Purge(REF, epoch) in into for into in heard))
        assert time.monotonic() - began < 1
        for listener in listeners:
            listener.cancel()
        await asyncio.gather(*listeners, return_exceptions=True)

    async def test_purges_are_not_missed_between_two_iterations(self, shared: Shared) -> None:
        """What is purged while nobody iterates is heard first by the next iteration, once."""
        heard: list[Purge] = []
        listener = asyncio.create_task(_listen(shared.first, heard.append))
        await _until_listening(shared.second, [heard])
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)
        epochs = [await shared.second.raise_epoch(REF, 0) for _ in range(3)]
        heard.clear()
        listener = asyncio.create_task(_listen(shared.first, heard.append))
        await _until(lambda: len(heard) >= 3)
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)
        assert heard == [Purge(REF, epoch) for epoch in epochs]


async def _listen(cache: TokenCache, heard: Callable[[Purge], None]) -> None:
    purges = cache.purges()
    assert isinstance(purges, AsyncGenerator)
    async with aclosing(purges):
        async for purge in purges:
            heard(purge)


async def _until_listening(cache: TokenCache, heard: list[list[Purge]]) -> None:
    """Purge another tenant until all listeners hear it, and then until nothing is on its way."""
    end = time.monotonic() + DEADLINE
    while not all(heard):
        assert time.monotonic() < end
        await cache.raise_epoch(OTHER_KEY.ref, 0)
        await asyncio.sleep(0.02)
    last = Purge(OTHER_KEY.ref, await cache.raise_epoch(OTHER_KEY.ref, 0))
    await _until(lambda: all(into[-1] == last for into in heard))


async def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)
