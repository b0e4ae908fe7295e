"""The lease of a running exchange: it is renewed while the exchange runs, and then no longer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from typing_extensions import override

from app.domain.names import TokenKey
from app.service.lease_turn import LONGEST_TURN_SECONDS, LeaseTurns, Turn
from tests.factories import KEY
from tests.fakes import FakeLease, ManualClock
from tests.simulation.virtual_loop import VirtualLoop


class VirtualClock(ManualClock):
    """The time of the running loop."""

    @override
    def __call__(self) -> float:
        return asyncio.get_running_loop().time()


class CountedLease(FakeLease):
    """A lease that counts how often it is asked to renew."""

    renewals = 0

    @override
    async def renew(self, key: TokenKey, holder: str) -> bool:
        self.renewals += 1
        return await super().renew(key, holder)


def in_virtual_time(test: Callable[[CountedLease], Awaitable[None]]) -> None:
    """Run a test with a lease of five seconds, and no waiting."""

    async def main() -> None:
        await test(CountedLease(VirtualClock()))

    loop = VirtualLoop()
    with contextlib.closing(loop):
        loop.run_until_complete(main())


def test_a_lease_is_held_until_the_exchange_ends_and_then_free_at_once() -> None:
    """For eleven seconds no one else gets it; afterwards it is free without waiting for its end."""

    async def test(lease: CountedLease) -> None:
        async with LeaseTurns(lease).take(KEY) as turn:
            assert turn is Turn.OURS
            await asyncio.sleep(11.0)
            assert await lease.acquire(KEY) is None
        assert await lease.acquire(KEY) is not None

    in_virtual_time(test)


def test_a_holder_that_never_ends_loses_the_lease() -> None:
    """A holder that is stuck does not renew for longer than an exchange may take."""

    async def test(lease: CountedLease) -> None:
        async with LeaseTurns(lease).take(KEY):
            await asyncio.sleep(LONGEST_TURN_SECONDS + 4.9)
            assert await lease.acquire(KEY) is None
            await asyncio.sleep(0.2)
            assert await lease.acquire(KEY) is not None
            assert lease.renewals == LONGEST_TURN_SECONDS

    in_virtual_time(test)


def test_a_lease_that_was_lost_is_not_asked_for_again() -> None:
    """Once another replica has it, the first holder asks no more, and its end does not free the other's lease."""

    async def test(lease: CountedLease) -> None:
        async with LeaseTurns(lease, renewal_seconds=5.5).take(KEY):
            await asyncio.sleep(5.1)
            assert await lease.acquire(KEY) is not None
            await asyncio.sleep(LONGEST_TURN_SECONDS)
            assert lease.renewals == 1
            assert await lease.acquire(KEY) is not None
        assert await lease.acquire(KEY) is None

    in_virtual_time(test)


def test_a_shared_cache_that_is_away_for_a_moment_does_not_cost_the_lease() -> None:
    """A renewal that fails is followed by the next one; a release that fails is not an error."""

    async def test(lease: CountedLease) -> None:
        async with LeaseTurns(lease).take(KEY):
            await asyncio.sleep(0.5)
            lease.is_down = True
            await asyncio.sleep(2.0)
            lease.is_down = False
            await asyncio.sleep(5.0)
            assert await lease.acquire(KEY) is None
            lease.is_down = True
        async with LeaseTurns(lease).take(KEY) as turn:
            assert turn is Turn.UNKNOWN
            assert turn.may_exchange

    in_virtual_time(test)


def test_while_another_holds_the_lease_it_is_not_our_turn() -> None:
    """The turn is taken; nothing is released by leaving it."""

    async def test(lease: CountedLease) -> None:
        holder = await lease.acquire(KEY)
        assert holder is not None
        async with LeaseTurns(lease).take(KEY) as turn:
            assert turn is Turn.TAKEN
            assert not turn.may_exchange
        assert await lease.renew(KEY, holder)

    in_virtual_time(test)


def test_an_exchange_that_ends_soon_starts_no_task() -> None:
    """A task begins with the first renewal, and ends with the turn."""

    async def test(lease: CountedLease) -> None:
        only = asyncio.all_tasks()
        async with LeaseTurns(lease).take(KEY):
            await asyncio.sleep(0.9)
            assert asyncio.all_tasks() == only
        await asyncio.sleep(5.0)
        assert lease.renewals == 0
        async with LeaseTurns(lease).take(KEY):
            await asyncio.sleep(1.1)
            assert len(asyncio.all_tasks()) == len(only) + 1
        assert asyncio.all_tasks() == only
        await asyncio.sleep(5.0)
        assert lease.renewals == 1

    in_virtual_time(test)
