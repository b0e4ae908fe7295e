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
from app.domain.names import CredentialName, CredentialRef, TokenKey, parse_org
from app.service.epochs import Epochs
from app.service.memory import TokenMemory
from app.service.purges import EPOCHS_AT_ONCE, MAX_OWED, PurgePace, Purges
from tests.factories import KEY, ORG, OTHER_KEY, OTHER_REF, REF, make_key, make_token
from tests.fakes import DAY, FakePurgeLog, ManualClock
from tests.support.replica_in_memory import ReplicaInMemory, World
from tests.support.waiting import until

SCOPED = make_key(scopes="openid")
QUICK = PurgePace(retry=0.001)
FIRST_EPOCH = int(ManualClock()() * 1000) + 1
"""The epoch of the first purge: just above the time in milliseconds."""


@pytest.fixture
def replica(world: World) -> ReplicaInMemory:
    """One replica that retries and listens quickly."""
    return ReplicaInMemory(world, QUICK)


async def owe(replica: ReplicaInMemory, ref: CredentialRef) -> None:
    """Make a purge that the shared cache misses, because it is unavailable for a moment."""
    replica.world.redis_down()
    await replica.purges.purge(ref)
    replica.world.redis_down(is_down=False)


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
    assert (await replica.vend(KEY)).token.epoch == FIRST_EPOCH
    assert replica.sink.of(CredentialPurged) == [CredentialPurged(world.clock(), REF, FIRST_EPOCH, "local")]


async def test_a_purge_reaches_the_other_replicas(world: World, replica: ReplicaInMemory) -> None:
    """A listening replica drops its tokens in memory."""
    other = ReplicaInMemory(world, QUICK)
    async with listening(other):
        await replica.vend()
        await other.vend()
        await replica.purges.purge(REF)
        await until(lambda: other.memory.get(KEY) is None)
    assert other.sink.of(CredentialPurged) == [CredentialPurged(world.clock(), REF, FIRST_EPOCH, "remote")]
    assert (await other.vend()).token.epoch == FIRST_EPOCH


async def test_a_purge_during_an_exchange_voids_its_token(world: World, replica: ReplicaInMemory) -> None:
    """The token of the old epoch is neither stored nor vended; all waiters get one of the new epoch."""
    world.exchanger.calls(ORG).pause()
    waiters = [asyncio.create_task(replica.vend()) for _ in range(50)]
    await world.exchanger.calls(ORG).one_waits()
    await replica.purges.purge(REF)
    world.exchanger.calls(ORG).resume()
    answers = await asyncio.gather(*waiters)
    [token] = {answer.token for answer in answers}
    assert token.epoch == FIRST_EPOCH
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
    assert (await waiter).token.epoch == FIRST_EPOCH


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
    assert (await waiter).token.epoch == FIRST_EPOCH


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
    assert replica.answerable(KEY) is None
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
        await until(lambda: replica.answerable(KEY) is None)
    assert replica.answerable(OTHER_KEY) is other


async def test_a_shared_cache_that_lost_everything_costs_no_warm_token(world: World, replica: ReplicaInMemory) -> None:
    """After a restart without data, replicas that know the epochs restore them, and every token is kept."""
    await replica.purges.purge(REF)
    tokens = [(await replica.vend(key)).token for key in (KEY, OTHER_KEY)]
    deaf = ReplicaInMemory(world, QUICK)
    world.purge_log.forget_epochs()
    await replica.purges.catch_up()
    assert [replica.answerable(key) for key in (KEY, OTHER_KEY)] == tokens
    assert await world.purge_log.epochs([REF, OTHER_KEY.ref]) == [FIRST_EPOCH, 0]
    await deaf.purges.catch_up()
    assert world.exchanges == 2


async def test_catching_up_is_tried_until_it_succeeds(world: World, replica: ReplicaInMemory) -> None:
    """If the shared cache becomes unavailable meanwhile, the comparison is repeated when it is back."""
    await replica.vend(KEY)
    await ReplicaInMemory(world, QUICK).purges.purge(REF)
    world.redis_down()
    with pytest.raises(CacheUnavailableError):
        await replica.purges.catch_up()
    assert replica.answerable(KEY) is not None
    world.redis_down(is_down=False)
    async with listening(replica):
        await until(lambda: replica.answerable(KEY) is None)


async def test_a_comparison_that_fails_is_repeated_though_no_purge_is_owed(
    world: World, replica: ReplicaInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The publisher does not sleep until the next regular comparison, which may be minutes away."""
    await replica.vend(KEY)
    await ReplicaInMemory(world, QUICK).purges.purge(REF)
    read = world.purge_log.epochs

    async def fail_once(_refs: Sequence[CredentialRef]) -> Sequence[int]:
        monkeypatch.setattr(world.purge_log, "epochs", read)
        raise CacheUnavailableError("down")

    monkeypatch.setattr(world.purge_log, "epochs", fail_once)
    replica.purges.heard(Purge(None, 0))
    async with listening(replica):
        await until(lambda: replica.answerable(KEY) is None)


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
        await until(lambda: replica.answerable(KEY) is None)


async def test_a_purge_that_was_never_announced_is_found(world: World) -> None:
    """If a replica ended between raising the epoch and publishing the purge, the comparison finds it."""
    replica = ReplicaInMemory(world, replace(QUICK, compare=0.01))
    await replica.vend(KEY)
    async with listening(replica):
        await world.purge_log.epochs([])
        world.purge_log.inner.learn(REF, 1)
        await until(lambda: replica.answerable(KEY) is None)


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
        await owe(replica, REF)
        await until(lambda: other.memory.get(KEY) is None)


@pytest.mark.parametrize("end", ["error", "cancelled"])
async def test_a_purge_whose_publication_is_broken_off_is_published_by_the_next_run(
    world: World, replica: ReplicaInMemory, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """An unexpected error, here or in the task that listens, ends all tasks; the supervisor starts them again."""
    raise_epoch, began = world.purge_log.raise_epoch, asyncio.Event()

    async def broken_off(_ref: CredentialRef, _above: int, *, in_background: bool = False) -> int:
        began.set()
        if end == "cancelled":
            await asyncio.Event().wait()
        raise RuntimeError(in_background)

    await owe(replica, REF)
    monkeypatch.setattr(world.purge_log, "raise_epoch", broken_off)
    run = asyncio.create_task(replica.purges.listen())
    await began.wait()
    if end == "cancelled":
        run.cancel()
    [ended] = await asyncio.gather(run, return_exceptions=True)
    assert isinstance(ended, ExceptionGroup if end == "error" else asyncio.CancelledError)
    monkeypatch.setattr(world.purge_log, "raise_epoch", raise_epoch)
    async with listening(replica):
        await until(lambda: world.purge_log.inner.epoch(REF) > 0)
    assert await world.purge_log.epochs([REF]) == [replica.epochs.of(REF)]


async def test_a_purge_that_fails_while_others_are_published_is_published_too(
    world: World, replica: ReplicaInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes too late for the round that runs, and causes another one."""
    raise_epoch = world.purge_log.raise_epoch

    async def overtaken(ref: CredentialRef, above: int, *, in_background: bool = False) -> int:
        monkeypatch.setattr(world.purge_log, "raise_epoch", raise_epoch)
        await owe(replica, OTHER_REF)
        return await raise_epoch(ref, above, in_background=in_background)

    await owe(replica, REF)
    monkeypatch.setattr(world.purge_log, "raise_epoch", overtaken)
    async with listening(replica):
        await until(lambda: world.purge_log.inner.epoch(OTHER_REF) > 0)
    assert await world.purge_log.epochs([REF]) == [replica.epochs.of(REF)]


async def test_the_publisher_sleeps_while_there_is_nothing_to_publish(
    world: World, replica: ReplicaInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is woken by a purge that Redis missed, and sleeps again once that is published."""
    publish, rounds = replica.purges.publish_owed, list[bool]()

    async def counted() -> None:
        rounds.append(True)
        await publish()

    monkeypatch.setattr(replica.purges, "publish_owed", counted)
    async with listening(replica):
        assert not rounds
        await owe(replica, REF)
        await until(lambda: world.purge_log.inner.epoch(REF) > 0)
        await asyncio.sleep(20 * QUICK.retry)
    assert len(rounds) == 1


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
    assert token.epoch > 7


@pytest.mark.parametrize("known_by", ["own purge", "owed purge", "announcement", "request"])
async def test_forged_announcements_do_not_bring_a_purged_token_back(world: World, known_by: str) -> None:
    """Whoever announces any number of purges, deletes the counter and restores the record gets no old token served."""
    replica = ReplicaInMemory(world, QUICK, epochs=Epochs(announced=10))
    purged = (await replica.vend()).token
    if known_by == "own purge":
        await replica.purges.purge(REF)
    elif known_by == "owed purge":
        await owe(replica, REF)
        await replica.purges.publish_owed()
    else:
        await ReplicaInMemory(world).purges.purge(REF)
        if known_by == "request":
            replica.memory.drop(REF)
            world.exchanger.failures[ORG] = ImsUnavailableError("down")
            with pytest.raises(ImsUnavailableError):
                await replica.vend()
            world.exchanger.failures.clear()
            world.clock.advance(DAY / 24)  # the back-off is over
        else:
            replica.purges.heard(Purge(REF, FIRST_EPOCH))
    for number in range(20):
        replica.epochs.learn(CredentialRef(OTHER_KEY.ref.org, CredentialName(f"forged-{number}")), FIRST_EPOCH)
    world.purge_log.forget_epochs()
    assert (await world.cache.read(KEY)).token == purged
    assert (await replica.vend()).token.epoch == FIRST_EPOCH


async def test_a_lost_epoch_is_not_used_again(world: World, replica: ReplicaInMemory) -> None:
    """After Redis has lost a purge, the next one by a replica that never heard of it voids the tokens in between."""
    await replica.purges.purge(REF)
    between = (await replica.vend()).token
    world.clock.advance(1.0)
    world.purge_log.forget_epochs()
    other = ReplicaInMemory(world)
    await other.purges.purge(REF)
    replica.purges.heard(Purge(REF, other.epochs.of(REF)))
    assert (await replica.vend()).token.value != between.value


async def test_while_a_purge_is_owed_the_replica_works_alone(world: World, replica: ReplicaInMemory) -> None:
    """While Redis is unavailable, new tokens are minted and vended, each once."""
    world.redis_down()
    await replica.purges.purge(REF)
    assert len(await replica.values(20)) == 1
    assert world.exchanges == 1
    with pytest.raises(CacheUnavailableError):
        await replica.purges.publish_owed()


async def test_two_purges_with_redis_away_are_one_debt(world: World, replica: ReplicaInMemory) -> None:
    """Settling raises the epoch to that of the last of them, once."""
    world.redis_down()
    await replica.purges.purge(REF)
    await replica.purges.purge(REF)
    world.redis_down(is_down=False)
    await replica.purges.publish_owed()
    await replica.purges.publish_owed()
    assert (await world.cache.read(KEY)).epoch == FIRST_EPOCH + 1


async def test_a_token_purged_before_its_waiters_wake_up_is_not_vended(world: World, replica: ReplicaInMemory) -> None:
    """A purge at the moment when the call finishes makes its waiters start a new call."""
    world.exchanger.calls(ORG).pause()
    waiter = asyncio.create_task(replica.vend())
    await world.exchanger.calls(ORG).one_waits()
    [flight] = replica.vendor._calls._running._running.values()
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

    ending = Purges(TokenMemory(world.clock, world.clock), Ended(world.connection), Epochs(), replica.sink, world.clock)
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
    with pytest.raises(OverloadedError) as refused:
        await replica.purges.purge(refs[MAX_OWED])
    assert refused.value.detail == "The shared cache is unavailable, and too many purges wait for it."
    await replica.purges.purge(refs[0])
    world.redis_down(is_down=False)
    await replica.purges.publish_owed()
    await replica.purges.purge(refs[MAX_OWED])
    assert (await world.cache.read(TokenKey(refs[0]))).epoch >= 2


async def test_a_purge_while_an_earlier_one_is_published_stays_owed(
    world: World, replica: ReplicaInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second purge is published too, by the next attempt, so that its epoch reaches the other replicas."""
    world.redis_down()
    await replica.purges.purge(REF)
    world.redis_down(False)
    raise_epoch, seen = world.purge_log.raise_epoch, list[int]()

    async def interrupted(ref: CredentialRef, above: int, *, in_background: bool = False) -> int:
        epoch = await raise_epoch(ref, above, in_background=in_background)
        if not seen:
            seen.append(epoch)
            world.redis_down()
            await replica.purges.purge(ref)
            world.redis_down(False)
        return epoch

    monkeypatch.setattr(world.purge_log, "raise_epoch", interrupted)
    await replica.purges.publish_owed()
    [shared] = await world.purge_log.epochs([REF])
    assert shared == seen[0] < replica.epochs.of(REF)
    await replica.purges.publish_owed()
    assert await world.purge_log.epochs([REF]) == [replica.epochs.of(REF)]
    await replica.purges.publish_owed()
    assert world.connection.calls.count("raise_epoch") == 4


async def test_what_is_known_already_is_not_a_purge(world: World, replica: ReplicaInMemory) -> None:
    """An announcement of the same or an earlier epoch makes no event, and a comparison writes nothing back."""
    await replica.purges.purge(REF)
    epoch, seen = replica.epochs.of(REF), len(replica.sink.of(CredentialPurged))
    for known in (epoch, epoch - 1, 1):
        replica.purges.heard(Purge(REF, known))
    await replica.purges.catch_up()
    assert len(replica.sink.of(CredentialPurged)) == seen
    assert "restore_epoch" not in world.connection.calls


async def test_more_epochs_than_one_question_holds_are_all_compared(world: World, replica: ReplicaInMemory) -> None:
    """Each credential is asked about once, and the last ones are found, too."""
    refs = [CredentialRef(parse_org(f"{number:024d}@AdobeOrg")) for number in range(2 * EPOCHS_AT_ONCE + 1)]
    for ref in refs:
        replica.epochs.learn(ref, 1)
        await world.purge_log.inner.raise_epoch(ref, 5)
    await replica.purges.catch_up()
    assert {replica.epochs.of(ref) for ref in refs} == {6}
    assert world.connection.calls.count("epochs") == 3


async def test_after_a_comparison_there_is_none_until_it_is_needed(world: World, replica: ReplicaInMemory) -> None:
    """A replica that has caught up does not compare at each attempt to publish."""
    await replica.vend()
    replica.purges.heard(Purge(None, 0))
    async with listening(replica):
        await until(lambda: "epochs" in world.connection.calls)
        await asyncio.sleep(0.02)
    assert world.connection.calls.count("epochs") == 1


async def test_a_purge_is_above_everything_that_is_known_though_the_clock_is_far_behind() -> None:
    """Above the known epoch, and above a purge that is owed, also if the replica has forgotten its epoch."""
    replica = ReplicaInMemory(World(clock=ManualClock(1.0)))
    replica.world.redis_down()
    await replica.purges.purge(REF)
    replica.epochs._in_use.clear()
    await replica.purges.purge(REF)
    replica.epochs.learn(REF, 5_000_000)
    await replica.purges.purge(REF)
    assert [event.epoch for event in replica.sink.of(CredentialPurged)] == [1_001, 1_002, 5_000_001]


async def test_an_owed_purge_may_turn_out_to_be_of_a_later_epoch(world: World, replica: ReplicaInMemory) -> None:
    """If another replica purged meanwhile, the published epoch is above its epoch, and known here at once."""
    await owe(replica, REF)
    later = await world.purge_log.raise_epoch(REF, 10**15)
    assert await replica.purges.flush(REF)
    assert replica.epochs.of(REF) == later + 1


async def test_a_replica_that_missed_nothing_compares_nothing(world: World, replica: ReplicaInMemory) -> None:
    """At its start it trusts what it hears."""
    await replica.vend()
    async with listening(replica):
        pass
    assert "epochs" not in world.connection.calls


async def test_an_answer_with_too_few_epochs_is_an_error(
    world: World, replica: ReplicaInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch is never taken for that of another credential, or for none at all."""
    await replica.vend()

    async def none(_refs: Sequence[CredentialRef]) -> Sequence[int]:
        return []

    monkeypatch.setattr(world.purge_log, "epochs", none)
    with pytest.raises(ValueError):
        await replica.purges.catch_up()


async def test_a_shared_cache_that_hangs_does_not_keep_a_process_from_its_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last attempt to publish ends after its time, and the number of unpublished purges is reported."""
    replica = ReplicaInMemory(world, PurgePace(last=0.01))
    world.redis_down()
    await replica.purges.purge(REF)

    async def hang(_ref: CredentialRef, above: int, *, in_background: bool = False) -> int:
        await asyncio.Event().wait()
        return above

    monkeypatch.setattr(world.purge_log, "raise_epoch", hang)
    async with asyncio.timeout(5.0):
        await replica.purges.aclose()
    assert PurgesUnpublished(1) in replica.sink.all
