"""Wrong and stepped wall clocks: no token is served past its true end, and no mass of tokens becomes due."""

from __future__ import annotations

import pytest

from app.domain.cache_entry import CacheEntry
from app.domain.dependency_errors import ImsUnavailableError
from tests.factories import KEY, ORG, make_credential, make_token
from tests.fakes import DAY, NOW, ManualClock
from tests.support.replica_in_memory import ReplicaInMemory, World
from tests.unit.service.test_keeper import many_keys

HOUR = 3600.0


def pass_time(world: World, seconds: float) -> None:
    """Let both clocks of the world advance."""
    assert world.steady is not None
    world.clock.advance(seconds)
    world.steady.advance(seconds)


@pytest.mark.parametrize("step", [HOUR, -HOUR, 10 * 60.0, -10 * 60.0])
async def test_a_step_of_the_wall_clock_serves_no_expired_token(step: float) -> None:
    """However the clock is stepped, a token of 40 s is served for less than 40 s, and `expires_in` is never more."""
    world = World(steady=ManualClock(77.0))
    replica, world.exchanger.lifetime = ReplicaInMemory(world), 40.0
    token = (await replica.vend()).token
    world.exchanger.failures[ORG] = ImsUnavailableError("down")
    pass_time(world, 10.0)
    world.clock.advance(step)
    for second in range(10, 60):
        served = replica.answerable()
        assert served is None or second < 39
        assert replica.vendor.seconds_left(token) <= 40 - second
        pass_time(world, 1.0)
        await replica.until_idle()
    if step < 0:
        with pytest.raises(ImsUnavailableError):
            await replica.vend()


@pytest.mark.parametrize("step", [HOUR, -HOUR])
async def test_a_step_of_the_wall_clock_causes_no_mass_of_refreshes(step: float) -> None:
    """Of 500 tokens whose refreshes are spread over twelve hours, a step of an hour makes none due."""
    world = World(steady=ManualClock(77.0))
    replica = ReplicaInMemory(world)
    keeper = replica.keeper()
    keys = many_keys(500)
    for number, key in enumerate(keys):
        world.put(make_credential(key.ref))
        replica.memory.put(make_token(key, minted_at=NOW - DAY * 0.48 * number / 500))
    for key in keys:
        assert replica.answerable(key) is not None
    keeper.refresh_due()
    assert replica.vendor.calls_in_flight == 0
    world.clock.advance(step)
    keeper.refresh_due()
    assert all(replica.answerable(key) for key in keys)
    await replica.until_idle()
    assert world.exchanges == 0


@pytest.mark.parametrize("step", [HOUR, -HOUR])
async def test_after_a_step_of_the_wall_clock_a_new_token_is_kept(step: float) -> None:
    """The first token of 40 s after a step is minted once, kept, and refreshed like any other."""
    world = World(steady=ManualClock(77.0))
    replica, world.exchanger.lifetime = ReplicaInMemory(world), 40.0
    await replica.vend()
    world.clock.advance(step)
    pass_time(world, 50.0)
    for _ in range(60):
        await replica.vend()
        await replica.until_idle()
        pass_time(world, 0.25)
    assert world.exchanges == 2
    for _ in range(60):
        await replica.vend()
        await replica.until_idle()
        pass_time(world, 0.25)
    assert world.exchanges == 3


async def test_a_failed_refresh_is_not_put_off_by_a_clock_that_is_set_back() -> None:
    """After a failure the next attempt is due in a second, also if the clock was set back by half an hour."""
    world = World(steady=ManualClock(77.0))
    replica = ReplicaInMemory(world)
    await replica.vend()
    pass_time(world, DAY * 0.6)
    world.exchanger.failures[ORG] = ImsUnavailableError("down")
    replica.answerable()
    await replica.until_idle()
    world.clock.advance(-HOUR / 2)
    replica.answerable()
    await replica.until_idle()
    assert world.exchanges == 3


@pytest.mark.parametrize("behind", [0.0, 30.0, 300.0])
async def test_a_replica_whose_clock_is_behind_serves_a_read_token_to_its_true_end_only(behind: float) -> None:
    """A token that another replica minted is served until its last 2.5 %, whatever this replica's clock says."""
    world = World()
    world.exchanger.lifetime = 14.0
    await ReplicaInMemory(world).vend()
    slow = ManualClock(NOW - behind)
    replica = ReplicaInMemory(world, clock=slow)
    world.clock.advance(3.0)
    slow.advance(3.0)
    obtained = await replica.vend()
    assert (obtained.tier, obtained.behind) == ("shared", behind)
    world.exchanger.failures[ORG] = ImsUnavailableError("down")
    served = 3.0
    while replica.answerable() is not None or (await _is_vended(replica)):
        served += 0.5
        world.clock.advance(0.5)
        slow.advance(0.5)
        await replica.until_idle()
    assert 13.0 <= served <= 14.0


@pytest.mark.parametrize(("remaining", "expected"), [
    (100.0, 0.0), (130.0, 0.0), (70.0, 30.0), (None, 0.0),
])  # fmt: skip
def test_the_shared_cache_shows_that_a_clock_is_behind(remaining: float | None, expected: float) -> None:
    """A clock is behind if it gives a token more life than the cache does; a cache that is behind changes nothing."""
    token = make_token(minted_at=NOW, life=1000.0)
    assert CacheEntry(token, 0, 0.0, remaining).clock_behind(NOW + 900.0) == expected
    assert CacheEntry(None, 0).clock_behind(NOW) == 0.0


def test_a_token_that_was_minted_in_the_future_shows_that_a_clock_is_behind() -> None:
    """The clock is behind by at least the time until the token's minting."""
    token = make_token(minted_at=NOW, life=1000.0)
    assert CacheEntry(token, 0, 0.0, 1000.0).clock_behind(NOW - 20.0) == 20.0
    assert CacheEntry(token, 0, 0.0, 1040.0).clock_behind(NOW - 20.0) == 20.0


async def _is_vended(replica: ReplicaInMemory) -> bool:
    try:
        await replica.vend(KEY)
    except ImsUnavailableError:
        return False
    return True


async def test_a_pause_that_ims_asked_for_is_not_prolonged_by_a_clock_that_is_set_back() -> None:
    """The replica remembers the end of the pause as a time; one that is further away than any pause is not believed."""
    world = World(steady=ManualClock(77.0))
    replica = ReplicaInMemory(world)
    world.redis_down()
    world.exchanger.failures[ORG] = ImsUnavailableError("busy", 120.0, throttled=True)
    with pytest.raises(ImsUnavailableError):
        await replica.vend()
    world.exchanger.failures.clear()
    pass_time(world, 60.0)
    with pytest.raises(ImsUnavailableError) as held:
        await replica.vend()
    assert held.value.retry_after == pytest.approx(60.0)
    world.clock.advance(-2 * HOUR)
    assert (await replica.vend()).tier == "exchange"
