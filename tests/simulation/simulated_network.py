"""The network of the simulation: delays, lost requests, lost replies, outages and the death of a replica."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

_Result = TypeVar("_Result")


class UnreachableError(Exception):
    """The call did not return. It may have had its effect."""


@dataclass
class Process:
    """A simulated process.

    Args:
        name: Its name, for the history.
        is_alive: Whether it runs. A dead process has no effect on anything.
        skew: Seconds by which its wall clock is ahead of the true time.

    """

    name: str
    is_alive: bool = True
    skew: float = 0.0


@dataclass
class SimulatedLink:
    """The way from all replicas to one system.

    Args:
        draw: The random numbers of the schedule.
        deadline: Seconds after which a caller gives up.
        delay: The shortest and the longest time for one direction, in seconds; None if messages arrive at once.
        is_down: Whether nothing passes.
        hangs: Whether a call takes its whole deadline to fail, instead of failing at once.
        loss: The probability that a request, or its reply, is lost.

    """

    draw: random.Random
    deadline: float
    delay: tuple[float, float] | None = (0.0002, 0.002)
    is_down: bool = False
    hangs: bool = False
    loss: float = 0.0

    async def call(self, caller: Process, effect: Callable[[], _Result]) -> _Result:
        """Send a request, let it have its `effect`, and return with the reply.

        Raises:
            UnreachableError: The request or the reply was lost, or the caller is dead.

        """
        await self._travel(caller)
        result = effect()
        await self._travel(caller)
        return result

    async def _travel(self, caller: Process) -> None:
        if caller.is_alive and self.delay is not None:
            await _pause(self.draw.uniform(*self.delay))
        if not caller.is_alive:
            raise UnreachableError
        if self.is_down or self.draw.random() < self.loss:
            await self._fail()

    async def _fail(self) -> None:
        await asyncio.sleep(self.deadline if self.hangs else 0.001)
        raise UnreachableError


def _pause(seconds: float) -> asyncio.Future[None]:
    """As `asyncio.sleep`, but cheaper: most events of a simulation are messages on their way."""
    loop = asyncio.get_running_loop()
    arrival = loop.create_future()
    loop.call_later(seconds, _arrive, arrival)
    return arrival


def _arrive(arrival: asyncio.Future[None]) -> None:
    if not arrival.done():
        arrival.set_result(None)
