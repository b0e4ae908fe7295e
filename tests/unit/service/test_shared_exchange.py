"""Replicas share exchanges through the cache and the lease, and keep working without either."""

from __future__ import annotations

import asyncio

import pytest

from app.domain.cache_entry import MAX_HOLD, CacheEntry
from app.domain.dependency_errors import ImsUnavailableError, OverloadedError
from app.domain.errors import BrokerError
from app.domain.events import CacheLookedUp
from app.domain.grant import Grant
from app.domain.learned_rate import BudgetKey
from app.domain.names import CredentialName, CredentialRef, TokenKey
from app.domain.tenant_errors import BadUpstreamResponseError
from app.service import shared_exchange
from app.service.epochs import Epochs
from app.service.exchange_places import ExchangePlaces
from app.service.need import Need
from tests.factories import KEY, ORG, OTHER_KEY, OTHER_ORG, OTHER_REF, REF, make_key, make_token
from tests.fakes import DAY, ManualClock
from tests.support.replica_in_memory import ReplicaInMemory, World
from tests.support.waiting import until


@pytest.fixture
def replicas(world: World) -> list[ReplicaInMemory]:
    """Three replicas."""
    return [ReplicaInMemory(world) for _ in range(3)]


def shared_lookups(replica: ReplicaInMemory) -> list[str]:
    """What the shared cache was reported to have, in order."""
    return [event.outcome for event in replica.sink.of(CacheLookedUp) if event.tier == "shared"]


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
    assert shared_lookups(replicas[0]) == ["miss"]
    assert shared_lookups(replicas[1]) == ["hit"]


async def test_a_token_that_was_stored_before_the_lease_was_free_is_adopted(
    world: World, replica: ReplicaInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever gets the lease reads once more, because its holder before may have stored a token."""
    acquire, stored = world.lease.acquire, make_token(minted_at=world.clock())

    async def acquire_after_another(key: TokenKey) -> str | None:
        await world.cache.store(stored)
        return await acquire(key)

    monkeypatch.setattr(world.lease, "acquire", acquire_after_another)
    obtained = await replica.vend()
    assert (obtained.token, obtained.tier) == (stored, "shared")
    assert world.exchanges == 0


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
    assert shared_lookups(replicas[1]) == ["miss"]


async def test_a_replica_that_waits_reads_more_often_than_it_asks_for_the_lease(
    world: World, replicas: list[ReplicaInMemory]
) -> None:
    """Its holder mostly stores a token, which a read finds: most polls are one command, not two."""
    assert await world.lease.acquire(KEY) is not None
    world.lease.tried = 0
    waiting = asyncio.create_task(replicas[0].vend())
    await until(lambda: world.cache.calls.count("read") >= 12)
    assert 1 < world.lease.tried <= world.cache.calls.count("read") / shared_exchange.READS_PER_TURN + 1
    world.clock.advance(12.0)
    assert (await waiting).tier == "exchange"


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


async def test_a_failed_exchange_is_answered_with_what_another_replica_has_stored(
    world: World, replicas: list[ReplicaInMemory]
) -> None:
    """A replica that stood still past its lease, or cannot reach IMS, adopts the token of the one that went on."""
    world.exchanger.calls(ORG).pause()
    waiting = asyncio.create_task(replicas[0].vend())
    await world.exchanger.calls(ORG).one_waits()
    await world.cache.store(make_token(value="eyJ.of-another-replica", minted_at=world.clock()))
    world.exchanger.failures[ORG] = ImsUnavailableError("down")
    world.exchanger.calls(ORG).resume()
    obtained = await waiting
    assert (obtained.token.value, obtained.tier) == ("eyJ.of-another-replica", "shared")


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
    assert held.value.detail == "IMS asked the broker to back off for this credential."
    assert world.exchanges == 1
    assert (await replicas[1].vend(OTHER_KEY)).tier == "exchange"
    world.clock.advance(69.5)
    with pytest.raises(ImsUnavailableError) as held:
        await replicas[2].vend()
    assert held.value.retry_after == pytest.approx(0.5)
    world.clock.advance(0.5)
    assert (await replicas[1].vend()).tier == "exchange"


async def test_without_redis_the_delay_binds_the_replica_that_received_it(
    world: World, replicas: list[ReplicaInMemory]
) -> None:
    """A 429 is respected even if the shared cache is unavailable."""
    world.redis_down()
    world.exchanger.failures[ORG] = ImsUnavailableError("busy", MAX_HOLD, throttled=True)
    for _ in range(5):
        with pytest.raises(ImsUnavailableError):
            await replicas[0].vend()
    assert world.exchanges == 1


async def test_a_replica_whose_purge_has_not_reached_the_shared_cache_exchanges_alone(
    world: World, replica: ReplicaInMemory
) -> None:
    """It neither takes the lease nor stores the token, and obeys the delay that IMS asked it for."""
    world.connection.is_down = True
    await replica.purges.purge(REF)
    assert (await replica.vend()).tier == "exchange"
    assert world.lease.acquired == 0
    assert not {"read", "store"} & set(world.cache.calls)
    await replica.purges.purge(REF)
    world.exchanger.failures[ORG] = ImsUnavailableError("busy", 60.0, throttled=True)
    for _ in range(3):
        with pytest.raises(ImsUnavailableError):
            await replica.vend()
    assert world.exchanges == 2


async def test_a_replica_whose_clock_is_behind_does_not_adopt_what_is_about_to_end(world: World) -> None:
    """What the clock of the shared cache shows counts, so the token is replaced."""
    await world.cache.store(make_token(value="eyJ.old", minted_at=world.clock() - DAY + 30.0))
    late = ReplicaInMemory(world, clock=ManualClock(world.clock() - 600.0))
    obtained = await late.vend()
    assert (obtained.tier, world.exchanges) == ("exchange", 1)


async def test_a_refresh_after_the_clock_was_set_back_keeps_the_new_token() -> None:
    """By the new time it ends before the old one, but only because the clock was set back."""
    world = World(steady=ManualClock(77.0))
    replica, world.exchanger.lifetime = ReplicaInMemory(world), 40.0
    world.redis_down()
    old = (await replica.vend()).token
    assert world.steady is not None
    world.steady.advance(25.0)
    world.clock.advance(25.0 - 30.0)
    await replica.vend()
    await replica.until_idle()
    assert world.exchanges == 2
    assert (await replica.vend()).token.value != old.value


async def test_a_report_while_another_replica_replaces_the_token_changes_nothing(
    world: World, replica: ReplicaInMemory
) -> None:
    """The reported token is answered, from the shared cache, without an exchange."""
    reported = (await replica.vend()).token
    assert await world.cache.claim_replacement(REF, shared_exchange.REPLACEMENT_SECONDS)
    obtained = await replica.vendor.report(KEY, reported.sha256)
    assert (obtained.token, obtained.tier) == (reported, "shared")
    assert world.exchanges == 1


async def test_a_tenant_that_failed_waits_after_others_until_it_succeeds(world: World) -> None:
    """The places of exchanges learn how each exchange ended."""
    places = ExchangePlaces(limit=1)
    replica = ReplicaInMemory(world, places=places)

    async def waits_as(key: TokenKey) -> str:
        world.exchanger.calls(OTHER_ORG).pause()
        holder = asyncio.create_task(replica.vend(OTHER_KEY))
        await world.exchanger.calls(OTHER_ORG).one_waits()
        waiting = asyncio.create_task(replica.vend(key))
        await until(lambda: any(places.waiting().values()))
        [rank] = [rank for rank, number in places.waiting().items() if number]
        world.exchanger.calls(OTHER_ORG).resume()
        await asyncio.gather(holder, waiting)
        await replica.purges.purge(OTHER_REF)
        await replica.purges.purge(REF)
        return rank

    world.exchanger.failures[ORG] = BadUpstreamResponseError("nonsense")
    with pytest.raises(BadUpstreamResponseError):
        await replica.vend()
    world.exchanger.failures.clear()
    assert await waits_as(KEY) == "suspect"
    assert await waits_as(KEY) == "cold"


async def test_a_purge_that_a_read_shows_is_not_pushed_out_by_announced_ones(world: World) -> None:
    """The credential is in use here, however many purges of others the replica hears of."""
    replica = ReplicaInMemory(world, epochs=Epochs(announced=1))
    await world.purge_log.raise_epoch(REF, 0)
    await replica.vend()
    for number in range(3):
        replica.epochs.learn(CredentialRef(ORG, CredentialName(f"other-{number}")), 9)
    assert replica.epochs.of(REF) == 1


class _UsedUpAtFirst:
    """A budget that defers the first exchange for a moment."""

    def __init__(self) -> None:
        self.waits = [0.01]

    async def take(self, key: BudgetKey, *, was_refused: bool) -> float:
        return self.waits.pop() if self.waits else 0.0

    async def throttled(self, key: BudgetKey) -> None:
        pytest.fail("IMS was not busy.")


async def test_an_exchange_without_budget_comes_again_when_there_is_some(world: World) -> None:
    """It is put off within its own call, and its caller gets the token."""
    replica = ReplicaInMemory(world, budget=_UsedUpAtFirst())
    assert (await replica.vend()).tier == "exchange"
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
    with pytest.raises(OverloadedError) as refused:
        await replicas[0].vend()
    assert refused.value.detail == "The token was purged repeatedly while it was minted."
    assert world.exchanges == shared_exchange.MAX_MINTS


async def test_an_exchange_that_a_purge_made_void_is_repeated_after_one_read(
    world: World, replica: ReplicaInMemory
) -> None:
    """No other replica holds the lease, so there is nothing to wait for."""

    async def purge(_grant: Grant) -> None:
        world.exchanger.before = None
        await world.purge_log.raise_epoch(REF, 0)

    world.exchanger.before = purge
    assert (await replica.vend()).tier == "exchange"
    assert world.exchanges == 2
    # The first, one between the exchanges, and one each time the lease is taken.
    assert world.cache.calls.count("read") == 4


async def test_an_exchange_that_takes_too_long_ends_with_an_error(world: World) -> None:
    """An exchange that hangs is cancelled before the caller's deadline, and the lease is released."""
    world.exchanger.calls(ORG).pause()
    with pytest.raises(ImsUnavailableError) as late:
        await ReplicaInMemory(world, longest_seconds=0.02).vend()
    assert (late.value.detail, late.value.retry_after) == ("No token could be minted in time.", 2.0)
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
    assert replicas[0].answerable(scoped) is None
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
