"""What every token cache does: the one in memory, and Redis as two replicas see it."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import replace

import pytest

from app.domain.access_token import AccessToken
from app.domain.cache_entry import CacheEntry, StoreOutcome
from app.domain.names import TokenKey
from tests.support.cached_tokens import ALL_KEYS, KEY, OTHER_KEY, REF, token_of
from tests.support.shared_caches import Shared

DEADLINE = 5.0


def new(key: TokenKey = KEY, *, older_by: float = 0.0, epoch: int = 0, value: str = "eyJ.a") -> AccessToken:
    """A token minted now, or `older_by` seconds ago."""
    return token_of(key, value, minted_at=round(time.time(), 3) - older_by, epoch=epoch)


class TestTokenCache:
    """The contract."""

    async def test_an_unknown_key_has_no_entry(self, shared: Shared) -> None:
        """Nothing is known of a key that was never written."""
        assert await shared.first.tokens.read(KEY) == CacheEntry(None, 0, 0.0)

    @pytest.mark.parametrize("key", ALL_KEYS, ids=lambda key: f"{key.ref.name}{key.selection.label}")
    async def test_a_stored_token_is_read_completely(self, shared: Shared, key: TokenKey) -> None:
        """Another replica reads every field of a stored token."""
        token = new(key)
        assert await shared.first.tokens.store(token) is StoreOutcome.STORED
        assert (await shared.second.tokens.read(key)).token == token

    async def test_the_remaining_life_of_a_token_is_read(self, shared: Shared) -> None:
        """The cache says by its own clock how long a token still lives; nothing if there is no token."""
        assert (await shared.first.tokens.read(KEY)).remaining is None
        token = new(older_by=100.0)
        await shared.first.tokens.store(token)
        entry = await shared.second.tokens.read(KEY)
        assert entry.remaining == pytest.approx(token.expires_at - time.time(), abs=DEADLINE)
        assert entry.clock_behind(time.time() - 1000.0) == pytest.approx(1000.0, abs=DEADLINE)

    async def test_the_same_token_is_stored_with_a_later_refresh(self, shared: Shared) -> None:
        """A token may replace itself, so that all replicas know when to refresh it."""
        token = new()
        await shared.first.tokens.store(token)
        later = token.asked_again_near_its_end()
        assert later.refresh_at > token.refresh_at
        assert await shared.second.tokens.store(later, replacing=token) is StoreOutcome.STORED
        assert (await shared.first.tokens.read(KEY)).token == later

    async def test_different_keys_never_collide(self, shared: Shared) -> None:
        """Keys that differ only in the org, the credential, the scopes or the kind of selection are different keys."""
        for key in ALL_KEYS:
            assert (await shared.first.tokens.read(key)).token is None
            await shared.first.tokens.store(new(key, value=f"eyJ.{hash(key)}"))
        for key in ALL_KEYS:
            token = (await shared.second.tokens.read(key)).token
            assert token is not None
            assert (token.key, token.value) == (key, f"eyJ.{hash(key)}")

    @pytest.mark.parametrize("older_by", [0.0, 0.001, 60.0])
    async def test_a_token_that_expires_no_later_is_refused(self, shared: Shared, older_by: float) -> None:
        """A token that expires earlier or at the same time as the stored one is not stored."""
        stored = new()
        await shared.first.tokens.store(stored)
        late = replace(stored, value="eyJ.late", expires_at=stored.expires_at - older_by)
        assert await shared.second.tokens.store(late) is StoreOutcome.OLDER
        assert (await shared.first.tokens.read(KEY)).token == stored

    async def test_a_token_that_expires_later_is_stored(self, shared: Shared) -> None:
        """A token that expires later replaces the stored one."""
        await shared.first.tokens.store(new(older_by=10))
        later = new(value="eyJ.later")
        assert await shared.second.tokens.store(later) is StoreOutcome.STORED
        assert (await shared.first.tokens.read(KEY)).token == later

    async def test_expiry_never_decreases_under_concurrency(self, shared: Shared) -> None:
        """Of fifty tokens stored concurrently by two replicas, the last to expire remains."""
        tokens = [new(older_by=age, value=f"eyJ.{age}") for age in range(50)]
        random.shuffle(tokens)
        caches = [shared.first.tokens, shared.second.tokens]
        await asyncio.gather(*(caches[index % 2].store(token) for index, token in enumerate(tokens)))
        token = (await shared.first.tokens.read(KEY)).token
        assert token is not None
        assert token.value == "eyJ.0"

    async def test_a_refused_token_is_replaced_by_one_that_expires_no_later(self, shared: Shared) -> None:
        """A token that Adobe refused may be replaced by one that expires earlier; a token newer than it may not."""
        refused = new(value="eyJ.refused")
        await shared.first.tokens.store(refused)
        shorter = new(older_by=100, value="eyJ.shorter")
        assert await shared.first.tokens.store(shorter, replacing=refused) is StoreOutcome.STORED
        assert (await shared.second.tokens.read(KEY)).token == shorter
        newer = new(older_by=50, value="eyJ.newer")
        await shared.first.tokens.store(newer)
        assert await shared.second.tokens.store(new(older_by=100), replacing=refused) is StoreOutcome.OLDER
        assert (await shared.first.tokens.read(KEY)).token == newer

    async def test_a_purge_hides_the_stored_token(self, shared: Shared) -> None:
        """After a purge no replica reads the token, and all read the new epoch; another tenant keeps its token."""
        await shared.first.tokens.store(new())
        await shared.first.tokens.store(new(OTHER_KEY))
        assert await shared.first.purge_log.raise_epoch(REF, 0) == 1
        assert await shared.second.tokens.read(KEY) == CacheEntry(None, 1, 0.0)
        assert (await shared.second.tokens.read(OTHER_KEY)).token is not None

    async def test_a_token_minted_before_a_purge_is_refused(self, shared: Shared) -> None:
        """An exchange begun before a purge cannot store its token; one begun after it can, however short-lived."""
        await shared.first.tokens.store(new())
        await shared.first.purge_log.raise_epoch(REF, 0)
        assert await shared.second.tokens.store(new()) is StoreOutcome.STALE_EPOCH
        assert (await shared.first.tokens.read(KEY)).token is None
        after = new(older_by=1000, epoch=1)
        assert await shared.second.tokens.store(after) is StoreOutcome.STORED
        assert (await shared.first.tokens.read(KEY)).token == after

    async def test_replacing_does_not_overrule_a_purge(self, shared: Shared) -> None:
        """A report's replacement minted before a purge is refused like any other token."""
        reported = new()
        await shared.first.tokens.store(reported)
        await shared.first.purge_log.raise_epoch(REF, 0)
        assert await shared.first.tokens.store(new(), replacing=reported) is StoreOutcome.STALE_EPOCH

    async def test_a_lost_epoch_is_restored_by_a_token(self, shared: Shared) -> None:
        """A cache that lost an epoch learns it from the next token, and refuses tokens of older epochs again."""
        assert await shared.first.tokens.store(new(older_by=10, epoch=5)) is StoreOutcome.STORED
        assert (await shared.second.tokens.read(KEY)).epoch == 5
        assert await shared.second.tokens.store(new(epoch=4)) is StoreOutcome.STALE_EPOCH

    async def test_a_back_off_is_shared_and_bounded(self, shared: Shared) -> None:
        """A back-off is visible to all replicas, is never shortened, expires by itself, and is at most an hour."""
        await shared.first.tokens.hold(REF, 100)
        await shared.second.tokens.hold(REF, 5)
        assert 99 < (await shared.second.tokens.read(KEY)).hold <= 100
        await shared.first.tokens.hold(REF, 1e9)
        assert 3599 < (await shared.second.tokens.read(KEY)).hold <= 3600
        assert (await shared.first.tokens.read(OTHER_KEY)).hold == 0

    @pytest.mark.parametrize("seconds", [0.0, -5.0])
    async def test_a_back_off_without_a_duration_is_ignored(self, shared: Shared, seconds: float) -> None:
        """A back-off of zero or fewer seconds is ignored."""
        await shared.first.tokens.hold(REF, seconds)
        assert (await shared.first.tokens.read(KEY)).hold == 0

    async def test_one_replacement_is_granted_per_window(self, shared: Shared) -> None:
        """Of many claims one is granted per credential, and another one when the window is over."""
        caches = [shared.first.tokens, shared.second.tokens] * 10
        claims = await asyncio.gather(*(cache.claim_replacement(REF, 0.2) for cache in caches))
        assert claims.count(True) == 1
        assert await shared.first.tokens.claim_replacement(OTHER_KEY.ref, 0.2)
        end = time.monotonic() + DEADLINE
        while not await shared.second.tokens.claim_replacement(REF, 60):
            assert time.monotonic() < end
            await asyncio.sleep(0.01)

    async def test_a_returned_replacement_can_be_claimed_again(self, shared: Shared) -> None:
        """A returned claim can be granted to another replica; returning a claim that does not exist does nothing."""
        assert await shared.first.tokens.claim_replacement(REF, 60)
        await shared.first.tokens.return_replacement(REF)
        assert await shared.second.tokens.claim_replacement(REF, 60)
        assert not await shared.first.tokens.claim_replacement(REF, 60)
        await shared.first.tokens.return_replacement(OTHER_KEY.ref)
