"""The keeper: used tokens are refreshed at their own time though no caller asks, and callers come first."""

from __future__ import annotations

import asyncio
import random

import pytest

from app.domain.dependency_errors import CredentialStoreError, ImsUnavailableError
from app.domain.names import CredentialName, CredentialRef, OrgId, TokenKey
from app.service.due_tokens import MAX_KEPT_OF_ORG, MOST_STALE
from app.service.keeper import KEEPER_PAUSE_SECONDS, LOOK_AGAIN_SHARE, MAX_KEPT_AT_ONCE, Keeper
from app.service.memory import KEPT_LATER_SHARE
from tests.factories import KEY, ORG, OTHER_KEY, REF, make_credential, make_key, make_token
from tests.fakes import DAY, NOW
from tests.support.manual_time import ManualTime
from tests.support.replica_in_memory import ReplicaInMemory, World
from tests.support.waiting import until

HOUR, MINUTE = 3600.0, 60.0
DOWN = ImsUnavailableError("IMS is down", retry_after=0.5)


def many_keys(count: int) -> list[TokenKey]:
    """Keys of as many orgs."""
    return [TokenKey(CredentialRef(OrgId(f"{number:024d}@AdobeOrg"))) for number in range(count)]


async def passing(replica: ReplicaInMemory, keeper: Keeper, seconds: float, step: float = MINUTE) -> None:
    """Let time pass while the keeper works."""
    for _ in range(round(seconds / step)):
        replica.world.clock.advance(step)
        keeper.refresh_due()
        await replica.until_idle()


async def test_a_used_token_is_refreshed_though_no_caller_asks(world: World, replica: ReplicaInMemory) -> None:
    """A token is renewed a little after half of its life, and so is the next one; no exchange is made before."""
    keeper = replica.keeper()
    first = (await replica.vend()).token
    world.clock.advance(DAY / 2 - 1)
    keeper.refresh_due()
    await replica.until_idle()
    assert replica.answerable() is first
    await passing(replica, keeper, (KEPT_LATER_SHARE * DAY) + MINUTE)
    second = replica.answerable()
    assert second is not first
    await passing(replica, keeper, DAY)
    assert world.exchanges in {3, 4}


async def test_all_replicas_together_make_one_exchange(world: World) -> None:
    """Three replicas that hold a token all look after it; IMS is asked once per refresh, and all have the new token."""
    replicas = [ReplicaInMemory(world) for _ in range(3)]
    keepers = [replica.keeper() for replica in replicas]
    first = {(await replica.vend()).token.value for replica in replicas}
    world.clock.advance(DAY / 2 + KEPT_LATER_SHARE * DAY)
    for keeper in keepers:
        keeper.refresh_due()
    for replica in replicas:
        await replica.until_idle()
    tokens = {token.value for replica in replicas if (token := replica.memory.get(KEY)) is not None}
    assert len(tokens) == 1
    assert tokens != first
    assert world.exchanges == 2


async def test_a_token_that_was_not_used_within_the_window_is_not_refreshed(
    world: World, replica: ReplicaInMemory
) -> None:
    """Three days after the last use the refreshes end, and the token expires; a request keeps another one going."""
    keeper = replica.keeper(window=3 * DAY)
    await replica.vend()
    await replica.vend(OTHER_KEY)
    for _ in range(10):
        await passing(replica, keeper, 12 * HOUR, 10 * MINUTE)
        await replica.vend(OTHER_KEY)
        await replica.until_idle()
    assert replica.memory.get(KEY) is not None
    assert replica.answerable(KEY) is None
    assert replica.answerable(OTHER_KEY) is not None
    asked = [grant.credential.ref for grant in world.exchanger.grants]
    assert 5 <= asked.count(REF) <= 8


async def test_a_token_that_is_used_again_is_kept_again(world: World, replica: ReplicaInMemory) -> None:
    """The keeper looks again at a token that it gave up, so that one use within its life keeps it from then on."""
    keeper = replica.keeper(window=HOUR)
    await replica.vend()
    world.exchanger.failures[ORG] = DOWN
    await passing(replica, keeper, 14 * HOUR)
    assert world.exchanges == 1
    await replica.vend()  # It starts one refresh, which fails.
    await replica.until_idle()
    world.exchanger.failures.clear()
    await passing(replica, keeper, LOOK_AGAIN_SHARE * DAY * 0.7)
    assert world.exchanges == 2 + (replica.memory.get(KEY) is not None)


async def test_without_a_window_nothing_is_kept(world: World, replica: ReplicaInMemory) -> None:
    """`BROKER_KEEP_WARM=0s` turns the keeper off."""
    keeper = replica.keeper(window=0.0)
    await replica.vend()
    await passing(replica, keeper, DAY, 10 * MINUTE)
    assert world.exchanges == 1


async def test_an_outage_of_10_6_hours_is_not_noticed_by_a_tenant_that_asked_long_before(
    world: World, replica: ReplicaInMemory
) -> None:
    """A tenant that asked once, and then a day later in the 10.6th hour of an outage of IMS and Vault, gets a token.

    Without the keeper its token would have expired. At the true end of the token, it gets 503 with a delay.
    """
    keeper = replica.keeper()
    await replica.vend()
    await passing(replica, keeper, 12.5 * HOUR)
    renewed = replica.memory.get(KEY)
    assert renewed is not None
    assert world.exchanges == 2
    await passing(replica, keeper, renewed.refresh_at - world.clock() - MINUTE)  # The outage begins at the worst time.
    world.exchanger.failures[ORG] = DOWN
    world.store.failure = CredentialStoreError("sealed")
    reads = len(world.store.fetches)
    await passing(replica, keeper, 10.6 * HOUR)
    assert (await replica.vend()).token is renewed
    await replica.until_idle()
    await passing(replica, keeper, renewed.usable_until - world.clock() - 1, 1.0)
    assert (await replica.vend()).token is renewed
    world.clock.now = renewed.usable_until
    with pytest.raises(CredentialStoreError) as refused:
        await replica.vend()
    assert refused.value.retry_after > 0
    assert len(world.store.fetches) - reads < 350


async def test_a_failed_refresh_is_tried_again_by_the_keeper_itself(world: World, replica: ReplicaInMemory) -> None:
    """After an outage the token is renewed within the longest pause, though no caller asks."""
    keeper = replica.keeper()
    old = (await replica.vend()).token
    world.exchanger.failures[ORG] = DOWN
    await passing(replica, keeper, 13 * HOUR)
    tried = world.exchanges
    assert 5 < tried < 60
    world.exchanger.failures.clear()
    await passing(replica, keeper, 6 * MINUTE)
    assert replica.answerable() is not old
    assert world.exchanges == tried + 1


async def test_an_expired_token_is_not_kept(world: World, replica: ReplicaInMemory) -> None:
    """When a token has expired after failed refreshes, the keeper asks IMS no more."""
    keeper = replica.keeper()
    await replica.vend()
    world.exchanger.failures[ORG] = DOWN
    await passing(replica, keeper, DAY, 10 * MINUTE)
    tried = world.exchanges
    await passing(replica, keeper, HOUR)
    assert world.exchanges == tried


async def test_few_refreshes_run_at_the_same_time(world: World, replica: ReplicaInMemory) -> None:
    """A hundred due tokens of hanging tenants take a few calls; a cold tenant is served at once."""
    keeper = replica.keeper()
    keys = many_keys(100)
    for key in keys:
        world.put(make_credential(key.ref))
        await replica.vend(key)
        world.exchanger.calls(key.ref.org).pause()
    world.clock.advance(DAY * 0.6)
    for _ in range(5):
        keeper.refresh_due()
    assert replica.vendor.calls_in_flight == MAX_KEPT_AT_ONCE
    assert (await replica.vend()).tier == "exchange"
    for key in keys:
        world.exchanger.calls(key.ref.org).resume()
    await replica.until_idle()
    for _ in range(20):
        keeper.refresh_due()
        await replica.until_idle()
    assert all((token := replica.memory.get(key)) is not None and token.minted_at > NOW for key in keys)


async def test_hanging_tokens_of_one_org_delay_no_other_tenant(world: World, replica: ReplicaInMemory) -> None:
    """A thousand due tokens of one org that hangs take two places; a tenant due after them is refreshed at once."""
    keeper = replica.keeper()
    hanging = [TokenKey(CredentialRef(ORG, CredentialName(f"c{number}"))) for number in range(1_000)]
    for key in hanging:
        world.put(make_credential(key.ref))
        await replica.vend(key)
    world.clock.advance(HOUR)
    await replica.vend(OTHER_KEY)
    world.exchanger.calls(ORG).pause()
    world.clock.advance(DAY * 0.6)
    keeper.refresh_due()
    assert replica.vendor.calls_in_flight == MAX_KEPT_OF_ORG + 1
    await until(lambda: replica.vendor.calls_in_flight == MAX_KEPT_OF_ORG)
    assert (token := replica.memory.get(OTHER_KEY)) is not None
    assert token.minted_at > NOW + HOUR
    keeper.refresh_due()
    assert replica.vendor.calls_in_flight == MAX_KEPT_OF_ORG
    world.exchanger.calls(ORG).resume()
    for _ in range(len(hanging)):
        await replica.until_idle()
        keeper.refresh_due()
    assert all((token := replica.memory.get(key)) is not None and token.minted_at > NOW for key in hanging)


async def test_orgs_with_due_tokens_take_turns(world: World, replica: ReplicaInMemory) -> None:
    """Ten orgs have three due tokens each; the keeper refreshes one of each before a third one of any."""
    keeper = replica.keeper()
    for org in many_keys(10):
        for name in ("a", "b", "c"):
            key = TokenKey(CredentialRef(org.ref.org, CredentialName(name)))
            world.put(make_credential(key.ref))
            await replica.vend(key)
    world.clock.advance(DAY * 0.6)
    done = len(world.exchanger.grants)
    while len(world.exchanger.grants) < done + 30:
        keeper.refresh_due()
        await replica.until_idle()
    orgs = [grant.credential.ref.org for grant in world.exchanger.grants[done:]]
    assert {*orgs[:16]} == {*orgs}
    assert all(orgs.count(org) == 3 for org in orgs)


async def test_tokens_that_are_replaced_again_and_again_do_not_fill_the_heap(
    world: World, replica: ReplicaInMemory
) -> None:
    """Entries of tokens that were replaced are removed when there are too many; the present token stays due."""
    keeper = replica.keeper()
    for number in range(3 * MOST_STALE):
        replica.memory.put(make_token(minted_at=NOW + number))
    assert len(keeper._due) <= MOST_STALE + 3
    world.clock.advance(DAY * 0.6)
    keeper.refresh_due()
    await replica.until_idle()
    assert world.exchanges == 1


async def test_a_purged_token_is_forgotten(world: World, replica: ReplicaInMemory) -> None:
    """After a purge the keeper mints nothing until a caller asks."""
    keeper = replica.keeper()
    await replica.vend()
    await replica.purges.purge(REF)
    await passing(replica, keeper, DAY, HOUR)
    assert world.exchanges == 1


async def test_each_set_of_scopes_is_kept(world: World, replica: ReplicaInMemory) -> None:
    """Tokens of one credential with different scopes are refreshed each at its own time."""
    keeper, scoped = replica.keeper(), make_key(scopes="openid")
    await replica.vend()
    world.clock.advance(HOUR)
    await replica.vend(scoped)
    await passing(replica, keeper, 11.5 * HOUR)
    minted = {key: token.minted_at - NOW for key in (KEY, scoped) if (token := replica.memory.get(key)) is not None}
    assert minted[KEY] > 11 * HOUR
    assert minted[scoped] == HOUR


async def test_a_mass_of_tokens_minted_in_one_second_spreads_over_its_window() -> None:
    """The refreshes of 4,000 tokens of one second take over two hours; no five minutes have three times the mean."""
    world = World()
    replica = ReplicaInMemory(world)
    replica.minter._draw = random.Random(11).uniform
    keeper, keys = replica.keeper(), many_keys(4_000)
    for key in keys:
        world.put(make_credential(key.ref))
        await replica.vend(key)
    done, counts = world.exchanges, list[int]()
    while world.clock() < NOW + DAY * 0.57:
        await passing(replica, keeper, 5 * MINUTE, 5.0)
        counts.append(world.exchanges - done)
        done = world.exchanges
    busy = counts[next(index for index, count in enumerate(counts) if count) :]
    assert sum(busy) == len(keys)
    assert len(busy) * 5 * MINUTE > 2 * HOUR
    assert max(busy) < 3 * sum(busy) / len(busy)


async def test_a_restart_of_all_replicas_causes_no_exchange(world: World, replica: ReplicaInMemory) -> None:
    """Replicas that start empty read the tokens from the shared cache, each with its own time of refresh."""
    keys = many_keys(300)
    for key in keys:
        world.put(make_credential(key.ref))
        await replica.vend(key)
    world.clock.advance(DAY * 0.4)
    new = [ReplicaInMemory(world) for _ in range(3)]
    keepers = [started.keeper() for started in new]
    for started in new:
        assert {(await started.vend(key)).tier for key in keys} == {"shared"}
    for started, keeper in zip(new, keepers, strict=True):
        await passing(started, keeper, 10 * MINUTE)
    assert world.exchanges == len(keys)


async def test_a_credential_whose_token_stays_the_same_is_asked_again_only_near_its_end(world: World) -> None:
    """If IMS repeats a token until it ends, three replicas ask once at half of its life, and then near its end."""
    replicas = [ReplicaInMemory(world) for _ in range(3)]
    keepers = [replica.keeper() for replica in replicas]
    world.exchanger.repeats = True
    [first] = {(await replica.vend()).token for replica in replicas}

    async def pass_until(end: float) -> None:
        while world.clock() < end:
            world.clock.advance(MINUTE)
            for replica, keeper in zip(replicas, keepers, strict=True):
                keeper.refresh_due()
                await replica.vend()
                await replica.until_idle()

    await pass_until(first.expires_at - 21 * MINUTE)
    assert world.exchanges == 2
    assert {replica.memory.states(world.clock())["fresh"] for replica in replicas} == {1}
    await pass_until(first.usable_until - MINUTE)
    assert 3 <= world.exchanges < 40
    world.clock.now = first.expires_at
    assert len({(await replica.vend()).token.value for replica in replicas} - {first.value}) == 1


async def test_it_looks_at_the_tokens_again_and_again_until_it_is_cancelled(
    world: World, replica: ReplicaInMemory
) -> None:
    """A token that becomes due while the keeper runs is refreshed at its next look."""
    time = ManualTime()
    keeper = Keeper(replica.memory, replica.vendor, replica.backoff, DAY, world.clock, world.clock, time.sleep)
    running = asyncio.create_task(keeper.run())
    old = (await replica.vend()).token
    for _ in range(2):
        await time.asleep()
        time.advance(KEEPER_PAUSE_SECONDS)
    assert world.exchanges == 1
    world.clock.advance(DAY * 0.6)
    time.advance(KEEPER_PAUSE_SECONDS)
    await until(lambda: replica.memory.get(KEY) is not old)
    assert world.exchanges == 2
    running.cancel()
    assert isinstance((await asyncio.gather(running, return_exceptions=True))[0], asyncio.CancelledError)


async def test_a_refresh_that_a_request_has_just_tried_in_vain_is_not_repeated_by_the_keeper(
    world: World, replica: ReplicaInMemory
) -> None:
    """The pause after a failure is the same for callers and for the keeper, which then tries by itself."""
    keeper = replica.keeper()
    old = (await replica.vend()).token
    world.clock.advance(DAY * 0.6)
    world.exchanger.failures[ORG] = ImsUnavailableError("IMS is down", retry_after=40.0)
    assert (await replica.vend()).token is old
    await replica.until_idle()
    assert world.exchanges == 2
    world.exchanger.failures.clear()
    await passing(replica, keeper, 39.0, 1.0)
    assert world.exchanges == 2
    await passing(replica, keeper, 3.0, 1.0)
    assert world.exchanges == 3
    assert replica.answerable() is not old
