"""A limit of the fleet under uneven load, without the shared cache, and through everything that can happen to it."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Mapping

import pytest
from typing_extensions import override

from app.adapters.memory_cache import MemoryLimitShares
from app.domain.fleet_limit import LEASE_SECONDS, FleetLimit, LeaseHistory, ShareClaim, ShareGrant, Shares
from app.domain.leased_share import ASSUMED_REPLICAS, LeasedShare
from app.domain.rate_limit import LimitScope, RateLimit
from app.service.fleet_limits import MAX_LEASES_AT_ONCE, FleetLimits
from tests.factories import make_caller, make_policy
from tests.support.limited_fleet import STEP, FleetUnderLoad
from tests.support.manual_time import ManualTime

FLEET = LimitScope.FLEET
LIMIT = RateLimit(200, 1.0, FLEET)
SETTLING = 3.0

UNEVEN = [
    [1000.0, 0.0, 0.0, 0.0, 0.0],
    [1000.0, 1.0, 1.0, 1.0, 1.0],
    [1000.0, 100.0, 10.0, 1.0, 0.0],
    [60.0, 60.0, 60.0, 60.0, 60.0],
    [150.0, 55.0, 4.0, 2.0, 0.0],
    [300.0, 300.0, 0.0, 0.0, 0.0],
]


@pytest.mark.parametrize("load", UNEVEN, ids=str)
@pytest.mark.parametrize(
    "limit", [LIMIT, RateLimit(7, 1.0, FLEET), RateLimit(600, 60.0, FLEET), RateLimit(33, 1.0, FLEET)], ids=str
)
async def test_the_sum_is_the_limit_whatever_the_load(limit: RateLimit, load: list[float]) -> None:
    """Five replicas let pass what the limit says, within 10 %, in each 10 s once the burst is used up."""
    fleet = FleetUnderLoad(limit, 5)
    settling = SETTLING if limit.seconds == 1.0 else 180.0
    await fleet.run(settling, load)
    start = fleet.clock()
    await fleet.run(25.0, load)
    allowed = 10 * min(limit.rate, sum(load))
    found = fleet.sums(10.0, start, fleet.clock())
    assert 0.9 * allowed <= min(found) <= max(found) <= 1.1 * allowed, (min(found), max(found))


async def test_one_busy_replica_gets_nearly_all() -> None:
    """Four idle replicas keep nothing back from the fifth."""
    fleet = FleetUnderLoad(LIMIT, 5)
    await fleet.run(SETTLING, [1000.0])
    start = fleet.clock()
    await fleet.run(10.0, [1000.0])
    assert fleet.between(0, start, fleet.clock()) >= 0.98 * 2000


async def test_busy_replicas_get_equal_parts() -> None:
    """A replica that is asked for much more gets no more than the others that are asked for enough."""
    fleet = FleetUnderLoad(LIMIT, 4)
    await fleet.run(SETTLING, [2000.0, 200.0, 200.0, 10.0])
    start = fleet.clock()
    await fleet.run(20.0, [2000.0, 200.0, 200.0, 10.0])
    parts = [fleet.between(number, start, fleet.clock()) / 20 for number in range(4)]
    assert parts == pytest.approx([190 / 3] * 3 + [10], rel=0.1)


async def test_the_load_may_move_from_replica_to_replica() -> None:
    """The load moves every four seconds: the new replica gets all within two, and a fifth is lost at most."""
    fleet = FleetUnderLoad(LIMIT, 5)
    await fleet.run(SETTLING, [1000.0])
    start = fleet.clock()
    for busy in [1, 2, 3, 4, 0, 1, 2]:
        load = [0.0] * 5
        load[busy] = 1000.0
        await fleet.run(4.0, load)
        assert fleet.between(busy, fleet.clock() - 2.0, fleet.clock()) >= 0.9 * 400
    found = fleet.sums(10.0, start, fleet.clock())
    assert max(found) <= 1.1 * 2000
    assert min(found) >= 0.8 * 2000


async def test_random_load_never_passes_more_than_the_limit() -> None:
    """Whatever the load does, ten seconds never have more than 10 % over the limit once the burst is used up."""
    chance = random.Random(11)
    fleet = FleetUnderLoad(LIMIT, 5)
    await fleet.run(SETTLING, [1000.0] * 5)
    start = fleet.clock()
    for _ in range(40):
        load = [chance.choice([0.0, 50.0, 500.0, 3000.0]) for _ in range(4)]
        await fleet.run(chance.uniform(0.2, 3.0), [*load, 200.0])
    assert max(fleet.sums(10.0, start, fleet.clock())) <= 1.1 * 2000


@pytest.mark.parametrize("limit", [LIMIT, RateLimit(5, 1.0, FLEET), RateLimit(1, 60.0, FLEET)], ids=str)
async def test_an_idle_replica_answers_its_first_request(limit: RateLimit) -> None:
    """A replica that no one has asked for a minute does not wait for a lease, even if another one is busy."""
    fleet = FleetUnderLoad(limit, 5)
    await fleet.run(60.0, [1000.0] if limit.seconds == 1.0 else [])
    assert fleet.ask(4) == 0.0


@pytest.mark.parametrize(("seconds", "span"), [(1.0, 30.0), (60.0, 1200.0)])
async def test_a_limit_below_the_number_of_replicas_is_kept(seconds: float, span: float) -> None:
    """One request per second or minute on five busy replicas is one for all of them, besides the first of each."""
    fleet = FleetUnderLoad(RateLimit(1, seconds, FLEET), 5)
    start = fleet.clock()
    await fleet.run(span, [2.0] * 5)
    passed = sum(map(len, fleet.passed))
    assert 0.9 * span / seconds <= passed <= 1.1 * span / seconds + 1
    settled = start + 6 * seconds
    found = fleet.sums(10 * seconds, settled, fleet.clock())
    assert 8 <= min(found) <= max(found) <= 12
    if seconds == 1.0:
        assert min(fleet.between(number, settled, fleet.clock()) for number in range(5)) >= 2  # None is left out.


async def test_a_burst_of_a_limit_per_minute_may_come_to_one_replica() -> None:
    """600 a minute may be used at once, at one replica, within two seconds; then ten pass per second."""
    fleet = FleetUnderLoad(RateLimit(600, 60.0, FLEET), 5)
    await fleet.run(5.0, [])
    start = fleet.clock()
    await fleet.run(3.0, [1000.0])
    assert 600 <= fleet.between(0, start, fleet.clock()) <= 640
    await fleet.run(10.0, [1000.0])
    assert fleet.between(0, start + 3.0, fleet.clock()) == pytest.approx(100, abs=10)


async def test_without_the_shared_cache_each_replica_has_its_part() -> None:
    """As long as the shared cache is away, no replica passes more than a fifth, however large its load."""
    fleet = FleetUnderLoad(LIMIT, 5)
    await fleet.run(SETTLING, [1000.0, 10.0])
    fleet.is_away = True
    await fleet.run(2.0, [1000.0, 1000.0, 1000.0, 1.0])
    start = fleet.clock()
    await fleet.run(60.0, [1000.0, 1000.0, 1000.0, 1.0])
    assert all(replica.is_alone for replica in fleet.replicas)
    for number, allowed in enumerate([40.0, 40.0, 40.0, 1.0, 0.0]):
        assert fleet.between(number, start, fleet.clock()) == pytest.approx(allowed * 60, rel=0.02)
    fleet.is_away = False
    await fleet.run(SETTLING, [1000.0, 10.0])
    start = fleet.clock()
    await fleet.run(20.0, [1000.0, 10.0])
    assert not any(replica.is_alone for replica in fleet.replicas)
    assert 1800 <= min(fleet.sums(10.0, start, fleet.clock())) <= max(fleet.sums(10.0, start, fleet.clock())) <= 2200


async def test_the_return_of_the_shared_cache_gives_no_second_burst() -> None:
    """The bucket does not know what passed meanwhile, so it is empty when replicas come back."""
    fleet = FleetUnderLoad(RateLimit(600, 60.0, FLEET), 3)
    await fleet.run(120.0, [50.0] * 3)
    fleet.is_away = True
    await fleet.run(120.0, [50.0] * 3)
    fleet.is_away = False
    start = fleet.clock()
    await fleet.run(10.0, [50.0] * 3)
    assert sum(fleet.between(number, start, fleet.clock()) for number in range(3)) <= 110


async def test_a_replica_that_knows_no_number_begins_with_a_tenth() -> None:
    """It was started while the shared cache was away."""
    fleet = FleetUnderLoad(LIMIT, 1)
    fleet.is_away = True
    await fleet.run(1.0, [1000.0])
    start = fleet.clock()
    await fleet.run(30.0, [1000.0])
    assert fleet.replicas[0].replicas == 0
    assert fleet.between(0, start, fleet.clock()) == pytest.approx(30 * LIMIT.rate / ASSUMED_REPLICAS, rel=0.02)


async def test_the_part_of_a_dead_replica_goes_to_the_others() -> None:
    """Three seconds after its last lease the others have all of it, and it no longer counts after ten more."""
    fleet = FleetUnderLoad(LIMIT, 3)
    await fleet.run(SETTLING, [1000.0] * 3)
    fleet.stopped = {0}
    await fleet.run(4.0, [1000.0] * 3)
    start = fleet.clock()
    await fleet.run(12.0, [1000.0] * 3)
    assert fleet.between(1, start, fleet.clock()) + fleet.between(2, start, fleet.clock()) >= 0.97 * 2400
    assert [fleet.replicas[number].replicas for number in (1, 2)] == [2, 2]


async def test_a_lost_list_of_replicas_raises_no_part() -> None:
    """The shared cache is emptied and goes away at once: each replica still has its fifth."""
    fleet = FleetUnderLoad(LIMIT, 5)
    await fleet.run(SETTLING, [1000.0] * 5)
    fleet.lose()
    await fleet.run(0.3, [1000.0] * 5)
    fleet.is_away = True
    await fleet.run(2.0, [1000.0] * 5)
    start = fleet.clock()
    await fleet.run(10.0, [1000.0] * 5)
    assert [fleet.between(number, start, fleet.clock()) for number in range(5)] == pytest.approx([400] * 5, rel=0.02)


async def test_a_lost_bucket_gives_no_second_burst() -> None:
    """The shared cache is emptied every second under load; ten seconds stay within 10 % of the limit."""
    fleet = FleetUnderLoad(LIMIT, 5)
    await fleet.run(SETTLING, [1000.0, 1000.0])
    start = fleet.clock()
    for _ in range(20):
        fleet.lose()
        await fleet.run(1.0, [1000.0, 1000.0])
    assert max(fleet.sums(10.0, start, fleet.clock())) <= 1.1 * 2000


async def test_two_replicas_that_restart_at_once_raise_no_limit() -> None:
    """The old ones' parts are lost, and the new ones begin with a small one."""
    fleet = FleetUnderLoad(LIMIT, 3)
    load = [1000.0] * 3
    await fleet.run(SETTLING, load)
    start = fleet.clock()
    await fleet.run(5.0, load)
    fleet.stopped = {0, 1}
    for delay in (0.1, 0.2):
        fleet.start(fleet.clock() + delay)
    await fleet.run(12.0, [1000.0] * 5)
    found = fleet.sums(10.0, start, fleet.clock())
    assert 0.9 * 2000 <= min(found) <= max(found) <= 1.1 * 2000


async def test_a_limit_that_is_lowered_holds_at_once() -> None:
    """From the next request on no replica has more than its part of the new limit; a raised one takes a second."""
    fleet = FleetUnderLoad(LIMIT, 3)
    await fleet.run(SETTLING, [1000.0, 100.0])
    fleet.limit(RateLimit(20, 1.0, FLEET))
    start = fleet.clock()
    await fleet.run(10.0, [1000.0, 100.0])
    assert sum(fleet.between(number, start, fleet.clock()) for number in range(3)) == pytest.approx(200, rel=0.15)
    fleet.limit(LIMIT)
    await fleet.run(2.0, [1000.0, 100.0])
    start = fleet.clock()
    await fleet.run(10.0, [1000.0, 100.0])
    assert sum(fleet.between(number, start, fleet.clock()) for number in range(3)) == pytest.approx(2000, rel=0.1)


@pytest.mark.parametrize("step", [3600.0, -3600.0])
async def test_a_clock_that_steps_neither_stops_nor_frees_a_caller(step: float) -> None:
    """A replica's wall clock that is set by an hour, with that of the shared cache, costs at most one burst."""
    fleet = FleetUnderLoad(LIMIT, 3)
    await fleet.run(SETTLING, [1000.0, 1000.0])
    fleet.clock.advance(step)
    fleet._due = [due + step for due in fleet._due]
    start = fleet.clock()
    await fleet.run(12.0, [1000.0, 1000.0])
    found = fleet.sums(10.0, start, fleet.clock())
    assert 0.85 * 2000 <= min(found) <= max(found) <= 1.25 * 2000


async def test_a_caller_that_waits_as_told_is_served() -> None:
    """For a limit per minute that takes until the bucket has a request again, not only until the next lease."""
    fleet = FleetUnderLoad(RateLimit(2, 60.0, FLEET), 5)
    await fleet.run(3.0, [])
    told = []
    for _ in range(10):
        wait = fleet.ask(0)
        if wait:
            told.append(wait)
            await fleet.run(max(1.0, wait) + 2 * STEP, [])  # Retry-After has whole seconds.
            assert fleet.ask(0) == 0.0
    assert len(told) >= 4
    assert 25.0 < max(told) <= 30.0


async def test_there_is_one_call_a_second_and_only_callers_with_a_demand_are_in_it() -> None:
    """Two busy callers among a thousand make one call of two claims; without a limit of the fleet there is no call."""
    fleet = FleetUnderLoad(LIMIT, 1)
    [replica] = fleet.replicas
    callers = [make_caller(f"caller-{number}", rate_limit=LIMIT) for number in range(2 * MAX_LEASES_AT_ONCE)]
    fleet.policy.current = make_policy(*callers)
    for caller in callers:
        replica.share(caller, LIMIT)
    for caller in callers[:2]:
        replica.share(caller, LIMIT).take(fleet.clock())
    await replica.renew()
    assert [sorted(claims) for claims in fleet.calls] == [["caller-0", "caller-1"]]
    fleet.calls.clear()
    for caller in callers:
        replica.share(caller, LIMIT).take(fleet.clock())
    await replica.renew()
    assert [len(claims) for claims in fleet.calls] == [MAX_LEASES_AT_ONCE, MAX_LEASES_AT_ONCE]
    fleet.calls.clear()
    for _ in range(20):
        fleet.clock.advance(LEASE_SECONDS)
        await replica.renew()
    assert [len(claims) for claims in fleet.calls[-3:]] == [0, 0, 0]
    fleet.calls.clear()
    fleet.policy.current = make_policy(make_caller("limited", rate_limit=RateLimit(200, 1.0)))
    await replica.renew()
    assert fleet.calls == []


async def test_a_caller_that_leaves_the_policy_is_forgotten() -> None:
    """Its part goes with it, and it may come back."""
    fleet = FleetUnderLoad(LIMIT, 2)
    await fleet.run(2.0, [100.0, 100.0])
    fleet.policy.current = make_policy(make_caller("other", rate_limit=LIMIT))
    for replica in fleet.replicas:
        await replica.renew()
        assert replica._shares == {}
    fleet.limit(LIMIT)
    assert fleet.ask(0) == 0.0


def test_a_part_is_one_object_per_caller() -> None:
    """All spellings of a query and all endpoints count against the same part."""
    fleet = FleetUnderLoad(LIMIT, 1)
    [caller], [replica] = fleet.policy.current.callers, fleet.replicas
    assert isinstance(replica, FleetLimits)
    first, second = itertools.islice(iter(lambda: replica.share(caller, LIMIT), None), 2)
    assert first is second


class ChangingPolicy(MemoryLimitShares):
    """The limits of a fleet whose policy gets another caller while it answers."""

    def __init__(self, fleet: FleetUnderLoad) -> None:
        super().__init__(fleet.clock)
        self._fleet = fleet

    @override
    async def lease(self, replica: str, claims: Mapping[str, ShareClaim]) -> Shares:
        self._fleet.policy.current = make_policy(make_caller("other", rate_limit=LIMIT))
        self._fleet.replicas[0].share(self._fleet.policy.current.callers[0], LIMIT)
        return await super().lease(replica, claims)


async def test_a_lease_for_a_caller_that_left_meanwhile_is_dropped() -> None:
    """The policy changes while the shared cache answers; the next round knows only the callers of the new one."""
    fleet = FleetUnderLoad(LIMIT, 1)
    [replica] = fleet.replicas
    fleet.ask(0)
    fleet.shared = ChangingPolicy(fleet)
    await replica.renew()
    assert sorted(replica._shares) == ["other"]


async def test_it_leases_once_a_second_until_it_is_cancelled() -> None:
    """The pause between two leases is the length of one."""
    fleet, time = FleetUnderLoad(LIMIT, 1), ManualTime()
    replica = FleetLimits(fleet.policy, fleet, "own", fleet.clock, time.sleep)
    task = asyncio.create_task(replica.run())
    for _ in range(3):
        await time.asleep()
        assert time.waits == [LEASE_SECONDS]
        time.advance(LEASE_SECONDS)
    await time.asleep()
    task.cancel()
    assert len(fleet.calls) == 4


async def test_a_clock_of_the_bucket_that_was_set_back_leaves_no_replica_out() -> None:
    """Small parts still go round: no replica waits for the time at which it was served before the step."""
    limit, bucket = RateLimit(1, 1.0, FLEET), FleetLimit(1.0, 10_000.0)
    wants = ShareClaim(limit, 10.0, 0.0, LeaseHistory.LEASED)
    now, served = 10_000.0, Counter[str]()
    for second in range(40):
        now += 1.0 if second != 20 else -3600.0
        for replica in ("one", "two"):
            served[replica] += round(bucket.lease(replica, wants, now, 2).requests)
    assert min(served.values()) >= 18


async def test_a_reload_without_a_change_leaves_every_part_as_it_is() -> None:
    """The same limit in a new policy neither refills nor empties a part."""
    fleet = FleetUnderLoad(LIMIT, 2)
    await fleet.run(SETTLING, [1000.0, 10.0])
    start = fleet.clock()
    for _ in range(20):
        fleet.limit(RateLimit(200, 1.0, FLEET))
        await fleet.run(0.5, [1000.0, 10.0])
    assert sum(fleet.between(number, start, fleet.clock()) for number in range(2)) == pytest.approx(2000, rel=0.05)


@pytest.mark.parametrize(("limit", "replicas", "debt"), [(LIMIT, 5, 400.0), (RateLimit(1, 60.0, FLEET), 5, 5.0)])
def test_a_debt_is_never_more_than_replicas_can_have(limit: RateLimit, replicas: int, debt: float) -> None:
    """Someone else wrote it: at most what a bucket can hold, or a request for each replica, has to be paid."""
    bucket = FleetLimit(-1e12, 0.0)
    assert bucket.lease("one", ShareClaim(limit, 10.0, 0.0, LeaseHistory.LEASED), 0.0, replicas).level == -debt


@pytest.mark.parametrize("answer", [1e9, 1e300])
def test_an_answer_that_cannot_be_true_frees_no_caller(answer: float) -> None:
    """Whatever the shared cache says, a part is never more than a bucket can hold."""
    share = LeasedShare(LIMIT, 5)
    share.take(1.0)
    claim = share.claim(1.0)
    assert claim is not None
    share.granted(claim, ShareGrant(answer, answer), 5, 1.0)
    assert sum(share.take(1.0 + number / 1000) == 0.0 for number in range(5000)) <= 2 * LIMIT.requests + 2
