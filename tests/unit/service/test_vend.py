"""Vending: fresh tokens from memory, aging ones with one refresh, never an expired one or another tenant's."""

from __future__ import annotations

import asyncio
from itertools import combinations

import pytest

from app.domain.access_token import AccessToken
from app.domain.dependency_errors import CredentialStoreError, ImsUnavailableError, OverloadedError
from app.domain.errors import InvalidRequestError, InvalidScopeError
from app.domain.events import RefreshFailed, TaskFailed
from app.domain.names import OrgId, TokenKey, scopes_of
from app.domain.tenant_errors import CredentialNotFoundError
from app.service.need import Need, Obtained
from app.service.token_calls import MAX_CALLS, MAX_CALLS_OF_ORG
from app.service.vend import MAX_ROUNDS
from tests.factories import KEY, ORG, OTHER_KEY, OTHER_REF, REF, UNKNOWN_ORG, make_credential, make_key
from tests.fakes import DAY
from tests.support.replica_in_memory import ReplicaInMemory, World

DOWN = ImsUnavailableError("IMS is down", retry_after=0.5)


def fresh(replica: ReplicaInMemory, key: TokenKey = KEY) -> AccessToken | None:
    """The token that the warm path would use."""
    return replica.answerable(key)


async def aged(replica: ReplicaInMemory, share: float = 0.6) -> AccessToken:
    """The replica's token, after `share` of its lifetime."""
    token = (await replica.vend()).token
    replica.world.clock.advance(token.lifetime * share)
    return token


async def test_concurrent_misses_make_one_exchange(world: World, replica: ReplicaInMemory) -> None:
    """A hundred first requests for one key cost one exchange."""
    assert len(await replica.values(100)) == 1
    assert world.exchanges == 1


async def test_a_fresh_token_is_vended_from_memory_alone(world: World, replica: ReplicaInMemory) -> None:
    """The second request calls neither the cache, nor Vault, nor IMS."""
    await replica.vend()
    calls = len(world.cache.calls)
    assert (await replica.vend()).tier == "memory"
    assert (len(world.cache.calls), world.exchanges, len(world.store.fetches)) == (calls, 1, 1)


async def test_a_slow_tenant_does_not_delay_another(world: World, replica: ReplicaInMemory) -> None:
    """While one tenant's exchange hangs, another tenant gets its first token and later ones."""
    world.exchanger.calls(ORG).pause()
    slow = asyncio.create_task(replica.vend(KEY))
    await world.exchanger.calls(ORG).one_waits()
    assert (await replica.vend(OTHER_KEY)).tier == "exchange"
    assert (await replica.vend(OTHER_KEY)).tier == "memory"
    assert not slow.done()
    world.exchanger.calls(ORG).resume()
    await slow


async def test_a_slow_tenant_with_many_sets_of_scopes_leaves_calls_for_others(
    world: World, replica: ReplicaInMemory
) -> None:
    """Each set of scopes is a call of its own. One org has a limited number, so another tenant still gets its token."""
    names = [f"s{number}" for number in range(64)]
    world.put(make_credential(scopes=scopes_of(names)))
    world.exchanger.calls(ORG).pause()
    asked = [asyncio.create_task(replica.vend(make_key(scopes=" ".join(pair)))) for pair in combinations(names, 2)]
    await world.exchanger.calls(ORG).one_waits()
    assert (await replica.vend(OTHER_KEY)).tier == "exchange"
    assert replica.vendor.calls_in_flight == MAX_CALLS_OF_ORG
    assert len(asked) > MAX_CALLS
    world.exchanger.calls(ORG).resume()
    ended = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(result, OverloadedError) for result in ended) == len(asked) - MAX_CALLS_OF_ORG


async def test_if_all_waiters_are_cancelled_the_token_is_still_stored(world: World, replica: ReplicaInMemory) -> None:
    """The token of an exchange without waiters is stored in memory and in the shared cache."""
    world.exchanger.calls(ORG).pause()
    waiters = [asyncio.create_task(replica.vend()) for _ in range(100)]
    await world.exchanger.calls(ORG).one_waits()
    for waiter in waiters:
        waiter.cancel()
    await asyncio.gather(*waiters, return_exceptions=True)
    world.exchanger.calls(ORG).resume()
    await replica.until_idle()
    assert fresh(replica) is not None
    assert (await world.cache.read(KEY)).token is fresh(replica)
    assert world.exchanges == 1


@pytest.mark.parametrize("other", [OTHER_KEY, make_key(scopes="openid"), make_key(credential="second")])
async def test_no_key_ever_gets_another_keys_token(world: World, replica: ReplicaInMemory, other: TokenKey) -> None:
    """Interleaved requests for two keys each get tokens minted for their own key."""
    world.put(make_credential(make_key(credential="second").ref))
    keys = [KEY, other] * 50
    answers = await asyncio.gather(*(replica.vend(key) for key in keys))
    assert [answer.token.key for answer in answers] == keys
    assert world.exchanges == 2
    assert len({answer.token.value for answer in answers}) == 2


async def test_an_aging_token_is_vended_at_once_with_one_refresh_in_the_background(
    world: World, replica: ReplicaInMemory
) -> None:
    """A hundred requests for an aging token do not wait, and start one exchange."""
    old = await aged(replica)
    world.exchanger.calls(ORG).pause()
    answers = await asyncio.gather(*(replica.vend() for _ in range(100)))
    assert {answer.token.value for answer in answers} == {old.value}
    await world.exchanger.calls(ORG).one_waits()
    assert world.exchanges == 2
    world.exchanger.calls(ORG).resume()
    await replica.until_idle()
    assert (await replica.vend()).token.value != old.value
    assert world.exchanges == 2


async def test_a_failed_refresh_is_backed_off_and_not_repeated_per_request(
    world: World, replica: ReplicaInMemory
) -> None:
    """While IMS fails, a thousand requests in a second cost one exchange, and each gets the old token."""
    old = await aged(replica)
    world.exchanger.failures[ORG] = DOWN
    for _ in range(1000):
        assert (await replica.vend()).token is old
        await replica.until_idle()
    assert world.exchanges == 2
    assert replica.sink.of(RefreshFailed) == [RefreshFailed(REF, "ims_unavailable", DOWN.detail)]
    world.clock.advance(2.0)
    world.exchanger.failures.clear()
    await replica.vend()
    await replica.until_idle()
    assert (await replica.vend()).token is not old


async def test_an_outage_of_ten_hours_affects_no_caller_and_costs_few_exchanges(
    world: World, replica: ReplicaInMemory
) -> None:
    """If IMS and Vault are down for ten hours from half the lifetime on, every request gets a token."""
    old = await aged(replica, 0.5)
    world.exchanger.failures[ORG] = DOWN
    world.store.failure = CredentialStoreError("sealed")
    before = len(world.store.fetches)
    for _ in range(600):
        world.clock.advance(60.0)
        assert (await replica.vend()).token is old
        await replica.until_idle()
    assert len(world.store.fetches) - before < 260


async def test_an_unexpected_error_in_a_refresh_is_backed_off_and_reported(
    world: World, replica: ReplicaInMemory
) -> None:
    """With a bug in an adapter the caller still gets its token, and IMS is not called once per request."""
    old = await aged(replica)
    world.exchanger.failures[ORG] = RuntimeError("a bug")
    for _ in range(20):
        assert (await replica.vend()).token is old
        await replica.until_idle()
    assert world.exchanges == 2
    assert replica.sink.of(TaskFailed) == [TaskFailed("refresh", "RuntimeError")]


async def test_a_refresh_that_gets_a_shorter_lifetime_is_not_repeated_per_request(
    world: World, replica: ReplicaInMemory
) -> None:
    """If IMS starts to issue shorter lifetimes, an aging token that expires later is not refreshed on each request."""
    old = await aged(replica)
    world.exchanger.lifetime = 3600.0
    for _ in range(50):
        assert (await replica.vend()).token.value == old.value
        await replica.until_idle()
    assert world.exchanges == 2


async def test_an_expired_token_is_never_vended_even_if_everything_fails(
    world: World, replica: ReplicaInMemory
) -> None:
    """At the end of its usable lifetime the token is no longer vended; the error says why there is no other."""
    old = await aged(replica, 0.0)
    world.redis_down()
    world.exchanger.failures[ORG] = DOWN
    world.store.failure = CredentialStoreError("sealed")
    world.clock.now = old.usable_until - 1.0
    assert (await replica.vend()).token is old
    world.clock.now = old.usable_until
    assert fresh(replica) is None
    with pytest.raises(CredentialStoreError):
        await replica.vend()


async def test_many_requests_for_a_failing_tenant_without_a_token_cost_few_exchanges(
    world: World, replica: ReplicaInMemory
) -> None:
    """A thousand requests in ten seconds for a failing tenant cost a handful of calls to IMS; then it recovers."""
    world.exchanger.failures[ORG] = DOWN
    for _ in range(1000):
        world.clock.advance(0.01)
        with pytest.raises(ImsUnavailableError):
            await replica.vend()
    assert world.exchanges <= 8
    world.exchanger.failures.clear()
    world.clock.advance(5.0)
    assert (await replica.vend()).tier == "exchange"
    assert (await replica.vend(OTHER_KEY)).tier == "exchange"


async def test_a_single_failure_does_not_affect_the_next_request(world: World, replica: ReplicaInMemory) -> None:
    """After one failure the next request is served."""
    world.exchanger.failures[ORG] = DOWN
    with pytest.raises(ImsUnavailableError):
        await replica.vend()
    world.exchanger.failures.clear()
    assert (await replica.vend()).tier == "exchange"


async def test_a_credential_that_is_added_is_found_at_once(world: World, replica: ReplicaInMemory) -> None:
    """A missing credential is not remembered."""
    key = make_key(UNKNOWN_ORG)
    for _ in range(5):
        with pytest.raises(CredentialNotFoundError):
            await replica.vend(key)
    world.put(make_credential(key.ref))
    assert (await replica.vend(key)).token.key == key


async def test_a_new_token_is_minted_if_the_remaining_lifetime_is_too_short(
    world: World, replica: ReplicaInMemory
) -> None:
    """A min_ttl beyond the remaining lifetime mints once; the next such request gets the new token."""
    old = await aged(replica, 0.4)
    new = (await replica.vend(min_ttl=60_000.0)).token
    assert new is not old
    assert (await replica.vend(min_ttl=60_000.0)).token is new
    assert world.exchanges == 2


async def test_min_ttl_beyond_any_lifetime_is_refused_without_a_minting_each_time(
    world: World, replica: ReplicaInMemory
) -> None:
    """The first such request mints one token and is refused; the next ones are refused without a minting."""
    world.exchanger.lifetime = 3600.0
    for _ in range(20):
        with pytest.raises(InvalidRequestError):
            await replica.vend(min_ttl=7200.0)
    assert world.exchanges == 1
    assert (await replica.vend()).tier == "memory"


async def test_the_last_error_is_the_tenants_own_and_ends_with_a_success(
    world: World, replica: ReplicaInMemory
) -> None:
    """A caller's bad scope is not the tenant's error; a failed exchange is, until one succeeds."""
    with pytest.raises(InvalidScopeError):
        await replica.vend(make_key(scopes="admin"))
    assert replica.vendor.last_error(REF) is None
    world.exchanger.failures[ORG] = DOWN
    with pytest.raises(ImsUnavailableError):
        await replica.vend()
    assert replica.vendor.last_error(REF) == "ims_unavailable"
    assert replica.vendor.last_error(OTHER_REF) is None
    world.exchanger.failures.clear()
    await replica.vend()
    assert replica.vendor.last_error(REF) is None


async def test_a_changed_document_is_used_at_the_next_refresh(world: World, replica: ReplicaInMemory) -> None:
    """The cached token is kept after the change; the refresh uses the new generation."""
    await replica.vend()
    world.put(make_credential(generation="2"))
    assert (await replica.vend()).token.generation == "1"
    world.clock.advance(DAY * 0.6)
    await replica.vend()
    await replica.until_idle()
    assert (await replica.vend()).token.generation == "2"


async def test_many_tenants_at_once_each_cost_one_exchange(world: World, replica: ReplicaInMemory) -> None:
    """Three hundred cold tenants with ten requests each cost three hundred exchanges."""
    keys = [make_key(OrgId(f"{number:024d}@AdobeOrg")) for number in range(300)]
    for key in keys:
        world.put(make_credential(key.ref))
    answers = await asyncio.gather(*(replica.vend(key) for key in keys * 10))
    assert [answer.token.key for answer in answers] == keys * 10
    assert world.exchanges == 300


async def critical(replica: ReplicaInMemory) -> AccessToken:
    """The replica's token, when it has five minutes left."""
    token = (await replica.vend()).token
    replica.world.clock.now = token.expires_at - 300.0
    return token


async def test_a_critical_token_waits_for_its_refresh(world: World, replica: ReplicaInMemory) -> None:
    """A hundred requests for a token with five minutes left wait for one refresh, and get the new token."""
    old = await critical(replica)
    assert replica.answerable() is None
    values = await replica.values(100)
    assert len(values) == 1
    assert old.value not in values
    assert world.exchanges == 2


async def test_a_critical_token_is_vended_if_its_refresh_fails_and_not_tried_per_request(
    world: World, replica: ReplicaInMemory
) -> None:
    """While IMS fails, a thousand requests get the old token, and cost one exchange; at its end they get the error."""
    old = await critical(replica)
    world.exchanger.failures[ORG] = DOWN
    for _ in range(1000):
        assert (await replica.vend()).token is old
    assert world.exchanges == 2
    world.clock.now = old.usable_until
    with pytest.raises(ImsUnavailableError):
        await replica.vend()


async def test_a_critical_token_is_vended_if_its_refresh_hangs(
    world: World, replica: ReplicaInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request waits for the refresh for a limited time only; the refresh goes on for the next one."""
    monkeypatch.setattr("app.service.vend.CRITICAL_WAIT_SECONDS", 0.01)
    old = await critical(replica)
    world.exchanger.calls(ORG).pause()
    assert (await replica.vend()).token is old
    assert replica.vendor.calls_in_flight == 1
    world.exchanger.calls(ORG).resume()
    assert (await replica.vend()).token is not old
    assert world.exchanges == 2


async def test_a_critical_token_does_not_satisfy_a_longer_min_ttl(world: World, replica: ReplicaInMemory) -> None:
    """If the refresh of a critical token fails, a request for more life than it has left gets the error."""
    await critical(replica)
    world.exchanger.failures[ORG] = DOWN
    assert (await replica.vend(min_ttl=290.0)).tier == "memory"
    with pytest.raises(ImsUnavailableError):
        await replica.vend(min_ttl=310.0)


async def test_a_replica_with_too_many_calls_still_answers_an_aging_token(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its refresh finds no room; no caller notices, and a later request starts it."""
    monkeypatch.setattr("app.service.token_calls.MAX_CALLS", 1)
    replica = ReplicaInMemory(world)
    old = await aged(replica)
    world.exchanger.calls(OTHER_KEY.ref.org).pause()
    hanging = asyncio.create_task(replica.vend(OTHER_KEY))
    await world.exchanger.calls(OTHER_KEY.ref.org).one_waits()
    assert replica.vendor.start_refresh(KEY, world.clock()) is None
    assert (await replica.vend()).token is old
    world.exchanger.calls(OTHER_KEY.ref.org).resume()
    await hanging
    assert (await replica.vend()).token is old
    await replica.until_idle()
    assert (await replica.vend()).token is not old


async def test_a_token_that_is_purged_whenever_it_was_obtained_is_given_up(
    world: World, replica: ReplicaInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request does not go on forever, and never gets a purged token: after some rounds it is told to come again."""
    obtain = replica.fleet.obtain

    async def purged_at_once(key: TokenKey, need: Need) -> Obtained:
        obtained = await obtain(key, need)
        await replica.purges.purge(key.ref)
        return obtained

    monkeypatch.setattr(replica.fleet, "obtain", purged_at_once)
    with pytest.raises(OverloadedError) as refused:
        await replica.vend()
    assert refused.value.retry_after > 0
    assert world.exchanges == MAX_ROUNDS
    assert replica.memory.get(KEY) is None


async def test_the_requests_that_wait_are_counted(world: World, replica: ReplicaInMemory) -> None:
    """Three requests for one token are one call; when it ends, neither waits any more."""
    world.exchanger.calls(ORG).pause()
    waiting = [asyncio.create_task(replica.vend()) for _ in range(3)]
    await world.exchanger.calls(ORG).one_waits()
    assert (replica.vendor.calls_in_flight, replica.vendor.requests_waiting) == (1, 3)
    world.exchanger.calls(ORG).resume()
    await asyncio.gather(*waiting)
    await replica.until_idle()
    assert (replica.vendor.calls_in_flight, replica.vendor.requests_waiting) == (0, 0)


async def test_the_seconds_left_of_a_token_that_is_not_kept_are_those_of_the_wall_clock(
    world: World, replica: ReplicaInMemory
) -> None:
    """A token that was replaced or purged meanwhile has the seconds to its expiry, rounded down."""
    old = (await replica.vend()).token
    world.clock.advance(10.5)
    assert replica.vendor.seconds_left(old) == DAY - 11
    await replica.purges.purge(REF)
    assert replica.vendor.seconds_left(old) == DAY - 11
    await replica.vend()
    assert replica.vendor.seconds_left(old) == DAY - 11
