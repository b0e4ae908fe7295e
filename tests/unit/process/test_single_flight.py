"""One flight per key: shared by all who wait, owned by nobody who waits."""

from __future__ import annotations

import asyncio

import pytest

from app.domain.errors import ImsUnavailableError, OverloadedError
from app.process.single_flight import SingleFlight


class Journey:
    """A flight that lands when it is told to."""

    def __init__(self) -> None:
        self.started = 0
        self.finished = 0
        self.may_land = asyncio.Event()

    async def __call__(self) -> int:
        """Fly."""
        self.started += 1
        number = self.started
        await self.may_land.wait()
        self.finished += 1
        return number


@pytest.fixture
def flights() -> SingleFlight[str, int]:
    """A registry with room for three."""
    return SingleFlight(3)


async def boarded(flights: SingleFlight[str, int], journey: Journey, waiters: int) -> list[asyncio.Task[int]]:
    """So many tasks that wait for the flight "a"."""
    tasks = [asyncio.create_task(flights.join("a", journey)) for _ in range(waiters)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert journey.started == 1
    return tasks


async def test_all_who_wait_at_once_share_one_flight(flights: SingleFlight[str, int]) -> None:
    """A hundred waiters cost one flight and all get its result."""
    journey = Journey()
    tasks = await boarded(flights, journey, 100)
    journey.may_land.set()
    assert await asyncio.gather(*tasks) == [1] * 100
    assert journey.started == 1
    assert len(flights) == 0


async def test_cancelling_one_of_a_hundred_waiters_fails_nobody_else(flights: SingleFlight[str, int]) -> None:
    """A cancelled waiter, even the first, leaves the other 99 with their result."""
    journey = Journey()
    tasks = await boarded(flights, journey, 100)
    tasks[0].cancel()
    tasks[57].cancel()
    journey.may_land.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [index for index, result in enumerate(results) if isinstance(result, asyncio.CancelledError)] == [0, 57]
    assert sum(result == 1 for result in results) == 98


async def test_a_flight_lands_although_all_waiters_were_cancelled(flights: SingleFlight[str, int]) -> None:
    """Cancelling every waiter does not cancel the flight."""
    journey = Journey()
    tasks = await boarded(flights, journey, 10)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    [flight] = flights._running.values()
    journey.may_land.set()
    await flight
    assert journey.finished == 1


async def test_flights_of_two_keys_do_not_wait_for_each_other(flights: SingleFlight[str, int]) -> None:
    """A flight that hangs delays no flight of another key."""
    hanging, quick = Journey(), Journey()
    quick.may_land.set()
    slow = asyncio.create_task(flights.join("slow", hanging))
    await asyncio.sleep(0)
    assert await flights.join("quick", quick) == 1
    assert not slow.done()
    hanging.may_land.set()
    await slow


async def test_a_failure_reaches_every_waiter_and_the_next_one_flies_anew(flights: SingleFlight[str, int]) -> None:
    """All waiters get the flight's error; it is not kept for later ones."""

    async def crash() -> int:
        await asyncio.sleep(0)
        raise ImsUnavailableError("down")

    results = await asyncio.gather(*(flights.join("a", crash) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(result, ImsUnavailableError) for result in results)
    journey = Journey()
    journey.may_land.set()
    assert await flights.join("a", journey) == 1


async def test_one_flight_too_many_is_refused_but_those_flying_can_be_joined(flights: SingleFlight[str, int]) -> None:
    """The registry has a bound; joining a running flight needs no room."""
    journey = Journey()
    waiting = [asyncio.create_task(flights.join(key, journey)) for key in "abc"]
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError):
        await flights.join("d", journey)
    waiting.append(asyncio.create_task(flights.join("a", journey)))
    await asyncio.sleep(0)
    journey.may_land.set()
    assert len(await asyncio.gather(*waiting)) == 4


async def test_a_flight_that_has_landed_is_not_joined(flights: SingleFlight[str, int]) -> None:
    """In the moment between a landing and its being noted, who asks gets a new flight, not the old result."""
    journey = Journey()
    journey.may_land.set()
    landed = flights.board("a", journey)
    await landed
    flights._running["a"] = landed  # As it is until the callback of the landing has run.
    assert "a" not in flights
    assert await flights.join("a", journey) == 2


async def test_the_end_lets_flights_land_within_the_grace(flights: SingleFlight[str, int]) -> None:
    """A flight that lands in time is not torn when the process ends."""
    journey = Journey()
    [waiter] = await boarded(flights, journey, 1)
    closing = asyncio.create_task(flights.aclose(5.0))
    await asyncio.sleep(0)
    journey.may_land.set()
    await closing
    assert await waiter == 1


async def test_the_end_tells_waiters_of_a_hanging_flight_that_it_is_overloaded(flights: SingleFlight[str, int]) -> None:
    """Who waits for a flight that is ended gets an answer with a status, not a cancellation."""
    [waiter] = await boarded(flights, Journey(), 1)
    await flights.aclose(0.0)
    with pytest.raises(OverloadedError):
        await waiter
    assert len(flights) == 0


async def test_one_flight_takes_only_so_many_waiters() -> None:
    """One waiter too many for a tenant is refused, others' flights take theirs, and room comes back."""
    flights, journey = SingleFlight[str, int](3, waiters=10), Journey()
    tasks = await boarded(flights, journey, 10)
    with pytest.raises(OverloadedError):
        await flights.join("a", journey)
    other = asyncio.create_task(flights.join("b", journey))
    tasks[0].cancel()
    await asyncio.sleep(0)
    tasks[0] = asyncio.create_task(flights.join("a", journey))
    await asyncio.sleep(0)
    journey.may_land.set()
    assert await asyncio.gather(*tasks, other) == [1] * 10 + [2]
