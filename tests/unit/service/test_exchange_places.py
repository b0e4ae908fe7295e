"""Exchanges get their places by purpose, fairly among orgs, and those that hang cannot keep them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from app.domain.dependency_errors import CredentialStoreError, ImsUnavailableError, OverloadedError
from app.domain.learned_rate import BudgetKey
from app.domain.names import CredentialName, CredentialRef
from app.domain.tenant_errors import CredentialRejectedError
from app.service import exchange_places
from app.service.exchange_places import ExchangePlaces, Purpose
from tests.simulation.virtual_loop import VirtualLoop, run_virtually
from tests.support.documents import ref_of
from tests.support.waiting import until


class Crowd:
    """Exchanges that keep their place until they are ended."""

    def __init__(self, places: ExchangePlaces) -> None:
        self.places = places
        self.order: list[CredentialRef] = []
        self.tasks: dict[CredentialRef, asyncio.Task[None]] = {}
        self._ends: dict[CredentialRef, asyncio.Event] = {}

    async def come(self, ref: CredentialRef, purpose: Purpose = Purpose.COLD) -> None:
        """Let an exchange ask for a place."""
        self._ends[ref] = asyncio.Event()

        async def exchange() -> None:
            async with self.places.take(ref, purpose):
                self.order.append(ref)
                await self._ends[ref].wait()

        self.tasks[ref] = asyncio.create_task(exchange())
        await asyncio.sleep(0)

    async def end(self, ref: CredentialRef) -> None:
        """End one, and let the next begin."""
        self._ends[ref].set()
        await self.tasks[ref]
        await asyncio.sleep(0)
        await asyncio.sleep(0)


@pytest.fixture
async def crowd_of() -> AsyncIterator[Callable[[ExchangePlaces], Crowd]]:
    """Makes crowds, and ends them."""
    crowds: list[Crowd] = []

    def made(places: ExchangePlaces) -> Crowd:
        crowds.append(Crowd(places))
        return crowds[-1]

    yield made
    for crowd in crowds:
        for task in crowd.tasks.values():
            task.cancel()
        await asyncio.gather(*crowd.tasks.values(), return_exceptions=True)


async def fail(places: ExchangePlaces, ref: CredentialRef, error: BaseException) -> None:
    """Let an exchange fail."""
    async with places.take(ref, Purpose.COLD) as place:
        places.failed(place, error)


CrowdOf = Callable[[ExchangePlaces], Crowd]


async def test_no_more_than_the_limit_run_at_once(crowd_of: CrowdOf) -> None:
    """The fifth of five waits until one of the four places is free."""
    crowd = crowd_of(ExchangePlaces(4))
    for number in range(5):
        await crowd.come(ref_of(number))
    assert crowd.order == [ref_of(number) for number in range(4)]
    assert (crowd.places.running()["prompt"], crowd.places.waiting()["cold"]) == (4, 1)
    await crowd.end(ref_of(2))
    assert crowd.order[-1] == ref_of(4)


async def test_refreshes_are_served_before_new_tokens_and_those_before_reports(crowd_of: CrowdOf) -> None:
    """Whatever came first, the purpose decides."""
    crowd = crowd_of(ExchangePlaces(1))
    for number, purpose in enumerate((Purpose.COLD, Purpose.REPORT, Purpose.COLD, Purpose.REFRESH)):
        await crowd.come(ref_of(number), purpose)
    for number in (0, 3, 2):
        await crowd.end(ref_of(number))
    assert crowd.order == [ref_of(number) for number in (0, 3, 2, 1)]


async def test_an_org_has_a_quarter_of_the_places(crowd_of: CrowdOf) -> None:
    """An org that asks for twenty tokens leaves six of eight places to others."""
    crowd = crowd_of(ExchangePlaces(8))
    one_org = [CredentialRef(ref_of(0).org, CredentialName(f"c{number}")) for number in range(20)]
    for ref in one_org:
        await crowd.come(ref)
    assert crowd.places.running()["prompt"] == 2
    for number in range(1, 7):
        await crowd.come(ref_of(number))
    assert crowd.order[2:] == [ref_of(number) for number in range(1, 7)]


@pytest.mark.parametrize("error", [ImsUnavailableError("late"), CredentialRejectedError("x"), asyncio.CancelledError()])
async def test_tenants_that_failed_share_a_quarter_of_the_places_and_come_last(
    crowd_of: CrowdOf, error: BaseException
) -> None:
    """Twenty credentials whose last exchange failed leave places for those that come later, until one succeeds."""
    crowd = crowd_of(ExchangePlaces(4))
    for number in range(20):
        await fail(crowd.places, ref_of(number), error)
    for number in range(20):
        await crowd.come(ref_of(number))
    assert (crowd.places.running()["prompt"], crowd.places.waiting()["suspect"]) == (1, 19)
    for number in range(20, 24):
        await crowd.come(ref_of(number))
    assert crowd.order == [ref_of(number) for number in (0, 20, 21, 22)]
    await crowd.end(ref_of(0))
    assert crowd.order[-1] == ref_of(23)
    crowd.places.succeeded(ref_of(0))
    await crowd.come(ref_of(0))
    assert crowd.places.waiting()["cold"] == 1


async def test_a_pause_that_ims_asks_for_and_vault_make_no_tenant_suspect(crowd_of: CrowdOf) -> None:
    """Neither a 429 nor an outage of Vault says anything about the tenant."""
    crowd = crowd_of(ExchangePlaces(4))
    await fail(crowd.places, ref_of(0), ImsUnavailableError("busy", 9.0, throttled=True))
    await fail(crowd.places, ref_of(1), CredentialStoreError("sealed"))
    for number in range(2):
        await crowd.come(ref_of(number))
    assert not any(place.is_suspect for place in crowd.places._running)
    assert len(crowd.order) == 2


async def test_exchanges_that_hang_give_their_places_away(crowd_of: CrowdOf) -> None:
    """A place is free again after the patience of the replica, also if no exchange ends; at most four times over."""
    crowd = crowd_of(ExchangePlaces(2, patience=0.001))
    for number in range(20):
        await crowd.come(ref_of(number))
    await until(lambda: crowd.places.running() == {"prompt": 2, "slow": 8})
    assert sum(crowd.places.waiting().values()) == 10
    await crowd.end(crowd.order[0])
    await until(lambda: len(crowd.order) == 11)


async def test_the_oldest_and_the_newest_are_served_in_turn(crowd_of: CrowdOf) -> None:
    """A newcomer is served soon behind a queue of tenants that hang, and the first of the queue is, too."""
    crowd = crowd_of(ExchangePlaces(1))
    for number in range(6):
        await crowd.come(ref_of(number))
    for _ in range(5):
        await crowd.end(crowd.order[-1])
    assert sorted(crowd.order[1:3], key=lambda ref: ref.org) == [ref_of(1), ref_of(5)]
    assert sorted(crowd.order[3:5], key=lambda ref: ref.org) == [ref_of(2), ref_of(4)]


async def test_the_queue_has_a_bound_and_each_wait_an_end() -> None:
    """One more than may wait, and one that waits too long, get `overloaded` with a delay."""
    places = ExchangePlaces(1, longest_wait=0.01, max_queued=1)
    async with places.take(ref_of(0), Purpose.COLD):

        async def exchange(number: int) -> None:
            async with places.take(ref_of(number), Purpose.COLD):
                raise AssertionError("there is no place")

        ended = await asyncio.gather(exchange(1), exchange(2), return_exceptions=True)
    assert [(type(error), getattr(error, "retry_after", None)) for error in ended] == [(OverloadedError, 2.0)] * 2
    assert [str(error) for error in ended] == [
        "No exchange with IMS became free in time.",
        "Too many exchanges with IMS wait for their turn.",
    ]
    assert sum(places.waiting().values()) == sum(places.running().values()) == 0


async def test_a_caller_that_gives_up_in_the_queue_leaves_nothing_behind(crowd_of: CrowdOf) -> None:
    """A cancelled wait takes no place, even if it was just granted."""
    crowd = crowd_of(ExchangePlaces(1))
    for number in range(3):
        await crowd.come(ref_of(number))
    crowd.tasks[ref_of(1)].cancel()
    crowd._ends[ref_of(0)].set()
    await crowd.tasks[ref_of(0)]
    crowd.tasks[ref_of(2)].cancel()
    await asyncio.gather(*crowd.tasks.values(), return_exceptions=True)
    assert sum(crowd.places.running().values()) == sum(crowd.places.waiting().values()) == 0


async def test_a_client_without_a_budget_waits_and_then_asks_one_at_a_time(crowd_of: CrowdOf) -> None:
    """Its exchanges get no place within the pause, and after it one; the others of another client are not affected."""
    places = ExchangePlaces(4)
    client = BudgetKey("https://ims.example", "client")
    for number in range(3):
        async with places.take(ref_of(number), Purpose.COLD) as place:
            places.belongs(place, client, "1")
    async with places.take(ref_of(0), Purpose.COLD) as place:
        places.defer(place, client, 0.05)
    crowd = crowd_of(places)
    for number in range(4):
        await crowd.come(ref_of(number))
    assert crowd.order == [ref_of(3)]
    await until(lambda: len(crowd.order) == 2)
    assert places.waiting()["cold"] == 2
    [asking] = [place for place in places._running if place.client == client]
    places.has_budget(asking)
    await until(lambda: len(crowd.order) == 3)
    assert places.deferred() == 1


def test_the_places_without_an_answer_are_bounded_by_the_deadline() -> None:
    """As many exchanges can wait for an answer as start within the ten seconds of an exchange."""
    assert (
        exchange_places.MAX_SLOW_PER_PLACE * exchange_places.PATIENCE_SECONDS >= 10.0 - exchange_places.PATIENCE_SECONDS
    )


def test_a_timer_that_fires_early_loses_no_wake_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uvloop's timers have milliseconds: an exchange that was put off gets its place even if the timer is early."""
    client = BudgetKey("https://ims.example", "client")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        places = ExchangePlaces(longest_wait=5.0)
        async with places.take(ref_of(1), Purpose.COLD) as first:
            places.belongs(first, client, "1")
            places.defer(first, client, 0.5)
        async with places.take(ref_of(1), Purpose.COLD):
            assert loop.time() >= 0.5

    loop = VirtualLoop()
    call_later = loop.call_later

    def call_early(delay: float, *rest: Any) -> object:
        return call_later(delay - 0.001 if delay > 0.002 else delay, *rest)

    monkeypatch.setattr(loop, "call_later", call_early)
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


def test_a_place_that_is_free_costs_one_timer() -> None:
    """That of its patience: there is nothing to wait for, so there is no deadline."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        async with ExchangePlaces().take(ref_of(1), Purpose.COLD):
            assert len(loop._timers) == 1

    run_virtually(main())


def test_a_client_whose_budget_was_used_up_is_trusted_again_after_a_minute() -> None:
    """Within a minute after the pause its exchanges ask one at a time; later they all get a place at once."""
    client = BudgetKey("https://ims.example", "client")

    async def running_after(seconds: float) -> float:
        places = ExchangePlaces(longest_wait=1.0)
        for number in range(3):
            async with places.take(ref_of(number), Purpose.COLD) as place:
                places.belongs(place, client, "1")
        async with places.take(ref_of(0), Purpose.COLD) as place:
            places.defer(place, client, 5.0)
        await asyncio.sleep(seconds)
        crowd = Crowd(places)
        for number in range(3):
            await crowd.come(ref_of(number))
        running = places.running()["prompt"]
        for task in crowd.tasks.values():
            task.cancel()
        await asyncio.gather(*crowd.tasks.values(), return_exceptions=True)
        return running

    async def main() -> list[float]:
        pauses = (4.0, 6.0, 5.0 + exchange_places.THROTTLED_SECONDS)
        return [await running_after(seconds) for seconds in pauses]

    loop = VirtualLoop()
    with contextlib.closing(loop):
        assert loop.run_until_complete(main()) == [0, 1, 3]
