"""The network of the simulation: delays, lost requests, lost replies, outages and the death of a replica."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, TypeVarTuple, Unpack

from app.domain.errors import BrokerError

_Result = TypeVar("_Result")
_Args = TypeVarTuple("_Args")

DELAY = (0.0002, 0.002)
"""The shortest and the longest time for one direction within a data centre, in seconds."""


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
        unreachable: Makes the error of a call that got no reply. The request may have had its effect.
        draw: The random numbers of the schedule.
        deadline: Seconds after which a caller gives up.
        delay: The shortest and the longest time for one direction, in seconds; None if messages arrive at once.
        is_down: Whether nothing passes.
        hangs: Whether a call takes its whole deadline to fail, instead of failing at once.
        loss: The probability that a request, or its reply, is lost; without a delay, only requests are.

    """

    unreachable: Callable[[], BrokerError]
    draw: random.Random
    deadline: float
    delay: tuple[float, float] | None = DELAY
    is_down: bool = False
    hangs: bool = False
    loss: float = 0.0

    async def call(self, caller: Process, effect: Callable[[], _Result]) -> _Result:
        """Send a request, let it have its `effect`, and return with the reply.

        A cancelled call may still have its effect: its request may be on the way already.

        Raises:
            BrokerError: `unreachable`. The request or the reply was lost, or the caller is dead.

        """
        if not caller.is_alive:
            raise self.unreachable()
        if self.delay is None and not self._loses():
            return effect()
        reply: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        if self.delay is None:
            self._fail(caller, reply)
        else:
            self._send(reply, self._arrive, caller, effect, reply)
        return await reply

    def _send(self, reply: asyncio.Future[_Result], arrives: Callable[[Unpack[_Args]], object], *args: *_Args) -> None:
        """Let a message arrive. It is a timer, not a task: most events of a simulation are messages on their way."""
        shortest, longest = self.delay or (0.0, 0.0)
        seconds = shortest + (longest - shortest) * self.draw.random()
        # The future knows its loop. To ask for the running one costs a system call, each time.
        reply.get_loop().call_later(seconds, arrives, *args)

    def _arrive(self, caller: Process, effect: Callable[[], _Result], reply: asyncio.Future[_Result]) -> None:
        if reply.cancelled() and self.draw.random() < 0.5:
            return  # The caller went away before the request was sent.
        if not caller.is_alive or self._loses():
            self._fail(caller, reply)
            return
        try:
            result = effect()
        except Exception as error:  # a mistake in the simulation: it must not look like a hanging server
            if reply.done():
                raise
            reply.set_exception(error)
        else:
            self._send(reply, self._answer, caller, result, reply)

    def _answer(self, caller: Process, result: _Result, reply: asyncio.Future[_Result]) -> None:
        if not caller.is_alive or self._loses():
            self._fail(caller, reply)
        elif not reply.done():
            reply.set_result(result)

    def _loses(self) -> bool:
        return self.is_down or (self.loss > 0 and self.draw.random() < self.loss)

    def _fail(self, caller: Process, reply: asyncio.Future[_Result]) -> None:
        seconds = self.deadline if self.hangs and caller.is_alive else 0.001
        reply.get_loop().call_later(seconds, self._give_up, reply)

    def _give_up(self, reply: asyncio.Future[_Result]) -> None:
        if not reply.done():
            reply.set_exception(self.unreachable())
