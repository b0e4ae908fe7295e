"""Replicas share exchanges through the cache and the lease, and keep working without either."""

from __future__ import annotations

import asyncio

import pytest

from app.domain.cache_entry import CacheEntry
from app.domain.dependency_errors import ImsUnavailableError, OverloadedError
from app.domain.errors import BrokerError
from app.domain.events import CacheLookedUp
from app.domain.grant import Grant
from app.service import shared_exchange
from app.service.shared_exchange import Need
from tests.factories import KEY, ORG, OTHER_KEY, REF, make_key, make_token
from tests.fakes import DAY
from tests.support.replica_in_memory import ReplicaInMemory, World
from tests.support.waiting import until


@pytest.fixture
def replicas(world: World) -> list[ReplicaInMemory]:
    """Three replicas."""
    return [ReplicaInMemory(world) for _ in range(3)]


async def test_a_thousand_first_requests_over_three_replicas_cost_one_exchange(
    world: World, replicas: list[ReplicaInMemory]
) -> None:
    """All replicas together make one exchange, and every request gets the same token."""
    answers = await asyncio.gather(*(replica.values(334) for replica in replicas))
    assert world.exchanges == 1
    assert len(set.union(*answers)) == 1


async def test_a_cold_replica_adopts_a_token_that_another_stored(world: World, replicas: list[ReplicaInMemory]) -> None:
    """The shared token is vended without a call to the credential store or IMS."""
    await replicas[0].vend()
    world.store.failure = AssertionError("the store must not be called")
    obtained = await replicas[1].vend()
    assert obtained.tier == "shared"
    assert world.exchanges == 1


async def test_a_replica_that_finds_the_lease_taken_polls_and_adopts(
    world: World, replicas: list[ReplicaInMemory]
) -> None:
    """The second replica waits for the first one's token, without an exchange of its own."""
    world.exchanger.calls(ORG).pause()
    first = asyncio.create_task(replicas[0].vend())
    await world.exchanger.calls(ORG).one_waits()
    second = asyncio.create_task(replicas[1].vend())
    await until(lambda: world.cache.calls.count("read") >= 10)
    world.exchanger.calls(ORG).resume()
    obtained = await asyncio.gather(first, second)
    assert [item.tier for item in obtained] == ["exchange", "shared"]
    assert world.exchanges == 1
    assert (world.lease.acquired, world.lease.released) == (1, 1)


async def test_a_holder_that_is_gone_is_replaced(world: World, replicas: list[ReplicaInMemory]) -> None:
    """A lease that is no longer renewed expires, and the next replica makes the exchange."""
    assert await world.lease.acquire(KEY) is not None  # Taken by a replica that was killed at once.
    waiting = asyncio.create_task(replicas[0].vend())
    await until(lambda: world.cache.calls.count("read") >= 10)
    assert world.exchanges == 0
    world.clock.advance(12.0)
    assert (await waiting).tier == "exchange"


async def test_a_holder_whose_exchange_fails_releases_the_lease(world: World, replicas: list[ReplicaInMemory]) -> None:
    """After a failure the next replica need not wait for the lease to expire."""
    world.exchanger.failures[ORG] = ImsUnavailableError("down")
    with pytest.raises(ImsUnavailableError):
        await replicas[0].vend()
    world.exchanger.failures.clear()
    assert (await replicas[1].vend()).tier == "exchange"
    assert world.lease.released == 2


async def test_without_redis_each_replica_exchanges_once_and_no_caller_sees_an_error(
    world: World, replicas: list[ReplicaInMemory]
) -> None:
    """An outage of the shared cache costs one exchange per process."""
    world.redis_down()
    answers = await asyncio.gather(*(replica.values(100) for replica in replicas))
    assert world.exchanges == 3
    assert [len(answer) for answer in answers] == [1, 1, 1]
    assert CacheLookedUp("shared", "unavailable") in replicas[0].sink.all


async def test_redis_that_goes_away_before_the_write_costs_nothing(
    world: World, replicas: list[ReplicaInMemory]
) -> None:
    """A token that cannot be stored, and a lease that cannot be released, are not errors for callers."""

    async def vanish(_grant: Grant) -> None:
        world.redis_down()

    world.exchanger.before = vanish
    assert (await replicas[0].vend()).tier == "exchange"
    assert (await replicas[0].vend()).tier == "memory"


async def test_a_delay_that_ims_asks_for_binds_all_replicas(world: World, replicas: list[ReplicaInMemory]) -> None:
    """After a 429 with 120 s no replica calls IMS for 120 s, and callers get the remaining delay."""
    world.exchanger.failures[ORG] = ImsUnavailableError("busy", 120.0, throttled=True)
    with pytest.raises(ImsUnavailableError):
        await replicas[0].vend()
    world.exchanger.failures.clear()
    world.clock.advance(50.0)
    with pytest.raises(ImsUnavailableError) as held:
        await replicas[1].vend()
    assert held.value.retry_after == pytest.approx(70.0)
    assert world.exchanges == 1
    assert (await replicas[1].vend(OTHER_KEY)).tier == "exchange"
    world.clock.advance(70.0)
    assert (await replicas[1].vend()).tier == "exchange"


async def test_without_redis_the_delay_binds_the_replica_that_received_it(
    world: World, replicas: list[ReplicaInMemory]
) -> None:
    """A 429 is respected even if the shared cache is unavailable."""
    world.redis_down()
    world.exchanger.failures[ORG] = ImsUnavailableError("busy", 120.0, throttled=True)
    for _ in range(5):
        with pytest.raises(ImsUnavailableError):
            await replicas[0].vend()
    assert world.exchanges == 1


async def test_a_paused_holder_does_not_replace_a_later_token(world: World, replicas: list[ReplicaInMemory]) -> None:
    """The slow writer's older token is not stored in the shared cache."""
    late = make_token(value="eyJ.later", minted_at=world.clock() + 60.0)

    async def overtaken(_token: object) -> None:
        world.cache.before_store = None
        await world.cache.store(late)

    world.cache.before_store = overtaken
    await replicas[0].vend()
    stored = (await world.cache.read(KEY)).token
    assert stored is not None
    assert stored.value == "eyJ.later"


async def test_an_expired_record_in_the_shared_cache_is_a_miss(world: World, replicas: list[ReplicaInMemory]) -> None:
    """A token within its expiry margin is replaced, not vended."""
    await world.cache.store(make_token(value="eyJ.old", minted_at=world.clock() - DAY + 30.0))
    obtained = await replicas[0].vend()
    assert obtained.token.value != "eyJ.old"
    assert world.exchanges == 1


async def test_a_cache_that_always_reports_a_stale_epoch_causes_no_endless_loop(
    world: World, replicas: list[ReplicaInMemory]
) -> None:
    """One call mints a limited number of times, however often a purge overtakes it."""

    async def purge(_grant: Grant) -> None:
        await world.purge_log.raise_epoch(REF, 0)

    world.exchanger.before = purge
    with pytest.raises(OverloadedError):
        await replicas[0].vend()
    assert world.exchanges == shared_exchange.MAX_MINTS


async def test_an_exchange_that_takes_too_long_ends_with_an_error(world: World) -> None:
    """An exchange that hangs is cancelled before the caller's deadline, and the lease is released."""
    world.exchanger.calls(ORG).pause()
    with pytest.raises(ImsUnavailableError) as late:
        await ReplicaInMemory(world, longest_seconds=0.02).vend()
    assert late.value.retry_after > 0
    assert world.lease.released == 1


async def test_the_holder_renews_its_lease_while_it_exchanges(world: World) -> None:
    """An exchange that takes longer than the lease's lifetime does not lose the lease."""
    world.exchanger.calls(ORG).pause()
    first = asyncio.create_task(ReplicaInMemory(world, renewal_seconds=0.001).vend())
    await world.exchanger.calls(ORG).one_waits()
    world.clock.advance(4.0)
    await asyncio.sleep(0.05)
    world.clock.advance(4.0)
    assert await world.lease.acquire(KEY) is None
    world.exchanger.calls(ORG).resume()
    await first


async def test_each_key_has_its_own_lease(world: World, replicas: list[ReplicaInMemory]) -> None:
    """A tenant whose exchange hangs does not delay another tenant."""
    world.exchanger.calls(ORG).pause()
    slow = asyncio.create_task(replicas[0].vend())
    await world.exchanger.calls(ORG).one_waits()
    assert (await replicas[1].vend(OTHER_KEY)).token.key == OTHER_KEY
    assert not slow.done()
    world.exchanger.calls(ORG).resume()
    await slow


@pytest.mark.parametrize(
    ("need", "met"),
    [
        (Need(), True),
        (Need(fresh=True), False),
        (Need(lives_until=1_900_000_000.0 + 43_200), True),
        (Need(lives_until=1_900_000_000.0 + 43_201), False),
        (Need(replacing=make_token()), False),
        (Need(replacing=make_token(value="eyJ.another")), True),
    ],
)
def test_a_need_is_met_or_not(need: Need, met: bool) -> None:
    """A token with half its lifetime left meets a plain need, but not one for a fresh, longer or different token."""
    token = make_token(minted_at=1_900_000_000.0 - 43_200)
    assert need.met_by(token, 1_900_000_000.0) is met


async def test_a_foreign_token_under_a_key_is_never_adopted_by_another_key(
    world: World, replicas: list[ReplicaInMemory]
) -> None:
    """A token stored for one org or scope is not found for another."""
    await replicas[0].vend()
    for key in (OTHER_KEY, make_key(scopes="openid")):
        obtained = await replicas[1].vend(key)
        assert obtained.token.key == key
        assert obtained.tier == "exchange"


async def test_an_epoch_learnt_from_the_cache_drops_tokens_in_memory(
    world: World, replicas: list[ReplicaInMemory]
) -> None:
    """A replica that learns about a purge by reading the cache drops the credential's other tokens, too."""
    scoped = make_key(scopes="openid")
    await replicas[0].vend(scoped)
    await world.purge_log.raise_epoch(REF, 0)
    await replicas[0].vend(KEY)
    assert replicas[0].vendor.take_usable(scoped, world.clock()) is None
    entry: CacheEntry = await world.cache.read(KEY)
    assert entry.epoch == 1


async def test_an_unexpected_error_releases_the_lease(world: World, replicas: list[ReplicaInMemory]) -> None:
    """Whatever goes wrong in a minting, the lease is released."""
    world.exchanger.failures[ORG] = RuntimeError("a bug")
    with pytest.raises(RuntimeError):
        await replicas[0].vend()
    assert world.lease.released == 1
    world.exchanger.failures.clear()
    try:
        await replicas[1].vend()
    except BrokerError as error:  # pragma: no cover  # only if the lease was not released
        pytest.fail(error.detail)
