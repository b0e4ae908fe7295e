"""After a purge no older token is stored or vended, on any replica, with Redis or without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from typing_extensions import override

from app.domain.cache_entry import Purge
from app.domain.dependency_errors import CacheUnavailableError, ImsUnavailableError, OverloadedError
from app.domain.events import CredentialPurged, PurgesUnpublished
from app.domain.names import CredentialRef, TokenKey, parse_org
from app.service.epochs import Epochs
from app.service.memory import TokenMemory
from app.service.purges import MAX_OWED, PurgePace, Purges
from tests.factories import KEY, ORG, OTHER_KEY, REF, make_key, make_token
from tests.fakes import DAY, FakePurgeLog
from tests.support.replica_in_memory import ReplicaInMemory, World
from tests.support.waiting import until

SCOPED = make_key(scopes="openid")
QUICK = PurgePace(retry=0.001)


@pytest.fixture
def replica(world: World) -> ReplicaInMemory:
    """One replica that retries and listens quickly."""
    return ReplicaInMemory(world, QUICK)


@asynccontextmanager
async def listening(replica: ReplicaInMemory) -> AsyncIterator[None]:
    """Make the replica listen for purges."""
    before = replica.world.cache.calls.count("purges")
    task = asyncio.create_task(replica.purges.listen())
    try:
        await until(lambda: replica.world.cache.calls.count("purges") > before)
        await asyncio.sleep(0.005)
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_purge_drops_every_scope_and_nothing_else(world: World, replica: ReplicaInMemory) -> None:
    """Afterwards each key of the credential costs a new exchange; another org's token is kept."""
    for key in (KEY, SCOPED, OTHER_KEY):
        await replica.vend(key)
    await replica.purges.purge(REF)
    assert [(await replica.vend(key)).tier for key in (KEY, SCOPED, OTHER_KEY)] == ["exchange", "exchange", "memory"]
    assert (await replica.vend(KEY)).token.epoch == 1
    assert replica.sink.of(CredentialPurged) == [CredentialPurged(world.clock(), REF, 1, "local")]


async def test_a_purge_reaches_the_other_replicas(world: World, replica: ReplicaInMemory) -> None:
    """A listening replica drops its tokens in memory."""
    other = ReplicaInMemory(world, QUICK)
    async with listening(other):
        await replica.vend()
        await other.vend()
        await replica.purges.purge(REF)
        await until(lambda: other.memory.get(KEY) is None)
    assert other.sink.of(CredentialPurged) == [CredentialPurged(world.clock(), REF, 1, "remote")]
    assert (await other.vend()).token.epoch == 1


async def test_a_purge_during_an_exchange_voids_its_token(world: World, replica: ReplicaInMemory) -> None:
    """The token of the old epoch is neither stored nor vended; all waiters get one of the new epoch."""
    world.exchanger.calls(ORG).pause()
    waiters = [asyncio.create_task(replica.vend()) for _ in range(50)]
    await world.exchanger.calls(ORG).one_waits()
    await replica.purges.purge(REF)
    world.exchanger.calls(ORG).resume()
    answers = await asyncio.gather(*waiters)
    [token] = {answer.token for answer in answers}
    assert token.epoch == 1
    assert world.exchanges == 2
    assert (await world.cache.read(KEY)).token is token


async def test_a_purge_of_another_replica_during_an_exchange_voids_its_token(
    world: World, replica: ReplicaInMemory
) -> None:
    """Even a replica that does not listen learns about the purge when it stores the token."""
    world.exchanger.calls(ORG).pause()
    waiter = asyncio.create_task(replica.vend())
    await world.exchanger.calls(ORG).one_waits()
    await ReplicaInMemory(world, QUICK).purges.purge(REF)
    world.exchanger.calls(ORG).resume()
    assert (await waiter).token.epoch == 1


async def test_a_purge_between_the_answer_of_ims_and_the_write_voids_the_token(
    world: World, replica: ReplicaInMemory
) -> None:
    """The comparison in the write decides, not the time of the minting."""

    async def purge(_token: object) -> None:
        world.cache.before_store = None
        await world.purge_log.raise_epoch(REF, 0)

    world.cache.before_store = purge
    assert (await replica.vend()).token.epoch == 1
    assert world.exchanges == 2


async def test_a_purge_without_redis_voids_a_running_exchange(world: World, replica: ReplicaInMemory) -> None:
    """While the shared cache is unavailable, this replica still does not vend a token from before the purge."""
    world.redis_down()
    world.exchanger.calls(ORG).pause()
    waiter = asyncio.create_task(replica.vend())
    await world.exchanger.calls(ORG).one_waits()
    await replica.purges.purge(REF)
    world.exchanger.calls(ORG).resume()
    assert (await waiter).token.epoch == 1


async def test_a_purge_received_after_its_epoch_was_read_still_drops_the_token(
    world: World, replica: ReplicaInMemory
) -> None:
    """A refresh that reads the new epoch and then fails does not leave the purged token in memory."""
    old = (await replica.vend()).token
    world.clock.advance(DAY * 0.6)
    await ReplicaInMemory(world, QUICK).purges.purge(REF)
    world.exchanger.failures[ORG] = ImsUnavailableError("down")
    await replica.vend()  # Starts the refresh, which reads the epoch and fails.
    await replica.until_idle()
    replica.purges.heard(Purge(REF, 1))
    assert replica.vendor.take_usable(KEY, world.clock()) is None
    with pytest.raises(ImsUnavailableError):
        await replica.vend()
    assert old.epoch == 0


async def test_a_replica_that_missed_purges_drops_what_was_purged_and_nothing_else(
    world: World, replica: ReplicaInMemory
) -> None:
    """A replica that may have missed purges compares epochs; a tenant that was not purged stays warm."""
    await replica.vend(KEY)
    other = (await replica.vend(OTHER_KEY)).token
    await ReplicaInMemory(world, QUICK).purges.purge(REF)
    replica.purges.heard(Purge(None, 0))
    async with listening(replica):
        await until(lambda: replica.vendor.take_usable(KEY, world.clock()) is None)
    assert replica.vendor.take_usable(OTHER_KEY, world.clock()) is other


async def test_a_shared_cache_that_lost_everything_costs_no_warm_token(world: World, replica: ReplicaInMemory) -> None:
    """After a restart without data, replicas that know the epochs restore them, and every token is kept."""
    await replica.purges.purge(REF)
    tokens = [(await replica.vend(key)).token for key in (KEY, OTHER_KEY)]
    deaf = ReplicaInMemory(world, QUICK)
    world.purge_log.forget_epochs()
    await replica.purges.catch_up()
    assert [replica.vendor.take_usable(key, world.clock()) for key in (KEY, OTHER_KEY)] == tokens
    assert await world.purge_log.epochs([REF, OTHER_KEY.ref]) == [1, 0]
    await deaf.purges.catch_up()
    assert world.exchanges == 2


async def test_catching_up_is_tried_until_it_succeeds(world: World, replica: ReplicaInMemory) -> None:
    """If the shared cache becomes unavailable meanwhile, the comparison is repeated when it is back."""
    await replica.vend(KEY)
    await ReplicaInMemory(world, QUICK).purges.purge(REF)
    world.redis_down()
    with pytest.raises(CacheUnavailableError):
        await replica.purges.catch_up()
    assert replica.vendor.take_usable(KEY, world.clock()) is not None
    world.redis_down(is_down=False)
    async with listening(replica):
        await until(lambda: replica.vendor.take_usable(KEY, world.clock()) is None)


async def test_a_purge_missed_while_catching_up_causes_another_comparison(
    world: World, replica: ReplicaInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gap reported while epochs are being compared is not mistaken for the one that is being closed."""
    await replica.vend(KEY)
    read = world.purge_log.epochs

    async def overtaken(refs: Sequence[CredentialRef]) -> Sequence[int]:
        epochs = await read(refs)
        monkeypatch.setattr(world.purge_log, "epochs", read)
        await ReplicaInMemory(world, QUICK).purges.purge(REF)
        replica.purges.heard(Purge(None, 0))
        return epochs

    monkeypatch.setattr(world.purge_log, "epochs", overtaken)
    await replica.purges.catch_up()
    async with listening(replica):
        await until(lambda: replica.vendor.take_usable(KEY, world.clock()) is None)


async def test_a_purge_that_was_never_announced_is_found(world: World) -> None:
    """If a replica ended between raising the epoch and publishing the purge, the comparison finds it."""
    replica = ReplicaInMemory(world, replace(QUICK, compare=0.01))
    await replica.vend(KEY)
    async with listening(replica):
        await world.purge_log.epochs([])
        world.purge_log.inner.learn(REF, 1)
        await until(lambda: replica.vendor.take_usable(KEY, world.clock()) is None)


async def test_owed_purges_are_published_at_the_end(world: World, replica: ReplicaInMemory) -> None:
    """At its end a process publishes owed purges if the shared cache is back; otherwise it emits their number."""
    world.redis_down()
    await replica.purges.purge(REF)
    await replica.purges.aclose()
    assert PurgesUnpublished(1) in replica.sink.all
    world.redis_down(is_down=False)
    await replica.purges.aclose()
    assert (await world.cache.read(KEY)).epoch > 1
    assert replica.sink.all.count(PurgesUnpublished(1)) == 1


async def test_an_old_purge_that_arrives_late_changes_nothing(world: World, replica: ReplicaInMemory) -> None:
    """A repeated or outdated message does not drop the token of the new epoch."""
    await replica.purges.purge(REF)
    token = (await replica.vend()).token
    replica.purges.heard(Purge(REF, 1))
    assert (await replica.vend()).token is token


async def test_a_purge_with_redis_away_is_settled_when_it_is_back(world: World, replica: ReplicaInMemory) -> None:
    """The replica drops the token at once; the shared cache and the other replicas follow later."""
    other = ReplicaInMemory(world, QUICK)
    await replica.vend()
    async with listening(other):
        await other.vend()
        world.redis_down()
        await replica.purges.purge(REF)
        assert replica.memory.get(KEY) is None
        assert other.memory.get(KEY) is not None
        async with listening(replica):
            world.redis_down(is_down=False)
            await until(lambda: other.memory.get(KEY) is None)
    assert (await world.cache.read(KEY)).token is None


async def test_a_purge_is_settled_although_the_listening_connection_was_never_lost(
    world: World, replica: ReplicaInMemory
) -> None:
    """One failed command does not leave the purge owed forever, even if the stream stays connected."""
    other = ReplicaInMemory(world, QUICK)
    async with listening(replica), listening(other):
        await replica.vend()
        await other.vend()
        world.redis_down()
        await replica.purges.purge(REF)
        world.redis_down(is_down=False)
        await until(lambda: other.memory.get(KEY) is None)


async def test_an_owed_purge_is_settled_before_the_shared_token_is_trusted(
    world: World, replica: ReplicaInMemory
) -> None:
    """A token stored before the purge is not adopted after Redis is back and before the purge is published."""
    await world.purge_log.raise_epoch(REF, 6)
    await world.cache.store(make_token(value="eyJ.before-the-purge", epoch=7))
    world.redis_down()
    await replica.purges.purge(REF)  # It cannot know that the epoch is already 7.
    world.redis_down(is_down=False)
    token = (await replica.vend()).token
    assert token.value != "eyJ.before-the-purge"
    assert token.epoch == 8


async def test_while_a_purge_is_owed_the_replica_works_alone(world: World, replica: ReplicaInMemory) -> None:
    """While Redis is unavailable, new tokens are minted and vended, each once."""
    world.redis_down()
    await replica.purges.purge(REF)
    assert len(await replica.values(20)) == 1
    assert world.exchanges == 1
    with pytest.raises(CacheUnavailableError):
        await replica.purges.publish_owed()


async def test_two_purges_with_redis_away_are_one_debt(world: World, replica: ReplicaInMemory) -> None:
    """Settling raises the epoch above the last of them, once."""
    world.redis_down()
    await replica.purges.purge(REF)
    await replica.purges.purge(REF)
    world.redis_down(is_down=False)
    await replica.purges.publish_owed()
    await replica.purges.publish_owed()
    assert (await world.cache.read(KEY)).epoch == 3


async def test_a_token_purged_before_its_waiters_wake_up_is_not_vended(world: World, replica: ReplicaInMemory) -> None:
    """A purge at the moment when the call finishes makes its waiters start a new call."""
    world.exchanger.calls(ORG).pause()
    waiter = asyncio.create_task(replica.vend())
    await world.exchanger.calls(ORG).one_waits()
    [flight] = replica.vendor._calls._running.values()
    flight.add_done_callback(lambda _landed: replica.purges.heard(Purge(REF, 5)))
    world.exchanger.calls(ORG).resume()
    assert (await waiter).token.epoch == 5
    assert world.exchanges == 2


async def test_an_empty_stream_of_purges_does_not_spin(world: World, replica: ReplicaInMemory) -> None:
    """A stream that ends at once does not block the event loop."""

    class Ended(FakePurgeLog):
        """A log whose stream of purges ends."""

        rounds = 0

        @override
        async def purges(self) -> AsyncIterator[Purge]:
            """End at once."""
            Ended.rounds += 1
            nothing: tuple[Purge, ...] = ()
            for purge in nothing:
                yield purge

    ending = Purges(TokenMemory(), Ended(world.connection), Epochs(), replica.sink, world.clock)
    task = asyncio.create_task(ending.listen())
    await until(lambda: Ended.rounds > 2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_number_of_owed_purges_is_bounded(world: World, replica: ReplicaInMemory) -> None:
    """While the shared cache is unavailable, one purge too many is refused, and an owed one can be repeated."""
    world.redis_down()
    refs = [CredentialRef(parse_org(f"{number:024d}@AdobeOrg")) for number in range(MAX_OWED + 1)]
    for ref in refs[:MAX_OWED]:
        await replica.purges.purge(ref)
    with pytest.raises(OverloadedError):
        await replica.purges.purge(refs[MAX_OWED])
    await replica.purges.purge(refs[0])
    world.redis_down(is_down=False)
    await replica.purges.publish_owed()
    await replica.purges.purge(refs[MAX_OWED])
    assert (await world.cache.read(TokenKey(refs[0]))).epoch >= 2
