"""`not_before` of a document: earlier tokens are not served after it was read, from memory or from the shared cache."""

from __future__ import annotations

from app.domain.access_token import MAX_CLOCK_DIFFERENCE
from app.domain.events import CredentialPurged
from tests.factories import KEY, OTHER_KEY, OTHER_REF, REF, make_credential, make_key
from tests.fakes import DAY, NOW
from tests.support.replica_in_memory import ReplicaInMemory, World

SCOPED = make_key(scopes="openid")


async def barred(world: World, replica: ReplicaInMemory) -> float:
    """A token is minted, and an hour later its document says that it must not be served; the time of that."""
    await replica.vend()
    world.clock.advance(3600.0)
    not_before = world.clock() - 60.0
    world.put(make_credential(not_before=not_before, generation="2"))
    return not_before


async def test_a_token_minted_earlier_is_not_served_after_the_document_was_read(
    world: World, replica: ReplicaInMemory
) -> None:
    """Before the next read the token is served. A read for another set of scopes, or for the status, ends that."""
    not_before = await barred(world, replica)
    old = replica.answerable()
    assert old is not None
    await replica.store.fetch(REF)
    assert replica.answerable() is None
    new = (await replica.vend()).token
    assert new.minted_at >= not_before > old.minted_at
    assert (await replica.vend()).token is new
    assert [event.ref for event in replica.sink.of(CredentialPurged)] == [REF]


async def test_the_refresh_of_the_keeper_reads_the_document(world: World, replica: ReplicaInMemory) -> None:
    """A region that a purge did not reach heals by itself at the next refresh, though no caller asks."""
    keeper = replica.keeper()
    not_before = await barred(world, replica)
    world.clock.advance(DAY * 0.47)
    keeper.refresh_due()
    await replica.until_idle()
    token = replica.memory.get(KEY)
    assert token is not None
    assert token.minted_at > not_before


async def test_other_replicas_and_the_shared_cache_forget_the_token_too(world: World, replica: ReplicaInMemory) -> None:
    """The replica that reads the document purges: the record is refused by replicas that have not read it."""
    other = ReplicaInMemory(world)
    await barred(world, replica)
    assert (await other.vend()).tier == "shared"
    await replica.store.fetch(REF)
    assert (await world.cache.read(KEY)).token is None
    await other.purges.catch_up()
    assert other.answerable() is None
    assert (await other.vend()).token.generation == "2"


async def test_an_earlier_record_is_not_read_although_no_token_is_in_memory(
    world: World, replica: ReplicaInMemory
) -> None:
    """A replica that learned of `not_before` while it had no token refuses the record in the shared cache."""
    not_before = await barred(world, replica)
    other = ReplicaInMemory(world)
    assert (await other.vend(SCOPED)).tier == "exchange"
    token = (await other.vend(KEY)).token
    assert token.minted_at >= not_before
    assert (await ReplicaInMemory(world).vend(KEY)).token == token
    assert other.sink.of(CredentialPurged) == []


async def test_what_was_minted_later_is_kept(world: World, replica: ReplicaInMemory) -> None:
    """Each further read changes nothing: neither for this credential nor for others."""
    await barred(world, replica)
    tokens = [(await replica.vend(key)).token for key in (SCOPED, KEY, OTHER_KEY)]
    for _ in range(3):
        world.clock.advance(60.0)
        await replica.store.fetch(REF)
    assert [replica.answerable(key) for key in (SCOPED, KEY, OTHER_KEY)] == tokens


async def test_a_time_in_the_future_has_no_effect_before_it_comes(world: World, replica: ReplicaInMemory) -> None:
    """A tenant is served until then; a time that is in the future only because a clock is behind counts at once."""
    await replica.vend()
    world.clock.advance(10.0)
    world.put(make_credential(not_before=NOW + DAY))
    await replica.store.fetch(REF)
    assert replica.answerable() is not None
    world.put(make_credential(not_before=world.clock() + MAX_CLOCK_DIFFERENCE))
    await replica.store.fetch(REF)
    assert replica.answerable() is None
    assert (await replica.vend()).tier == "exchange"
    assert replica.answerable() is not None


async def test_the_credentials_are_those_of_the_store(replica: ReplicaInMemory) -> None:
    """Listing them reads no document, and purges nothing."""
    assert await replica.store.refs() == tuple(sorted([REF, OTHER_REF]))
    assert replica.world.store.fetches == []


async def test_a_token_of_that_very_second_is_served(world: World, replica: ReplicaInMemory) -> None:
    """Only a token that was minted earlier is purged."""
    token = (await replica.vend()).token
    world.clock.advance(3600.0)
    world.put(make_credential(not_before=token.minted_at, generation="2"))
    await replica.store.fetch(REF)
    assert replica.answerable() is token
    assert replica.sink.of(CredentialPurged) == []


async def test_the_store_learns_how_recent_the_document_of_an_app_must_be(
    world: World, replica: ReplicaInMemory
) -> None:
    """The wish is passed on; without one the document is read."""
    await replica.store.fetch(REF, recent_app=True)
    await replica.store.fetch(REF, recent_app=False)
    await replica.store.fetch(REF)
    assert world.store.recent_app == [True, False, False]
