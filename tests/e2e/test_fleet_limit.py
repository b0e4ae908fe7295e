"""One limit for three real replicas under uneven load, and what each of them may do alone."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import pytest

from tests.support.fleet import EVERYTHING, Fleet
from tests.support.redis_server import RedisServer, own_redis
from tests.support.replica import BrokerProcess
from tests.support.wire import connected

__all__ = ["own_redis"]

LIMIT = 60
"""Requests per second, of all replicas."""

UNEVEN = (180.0, 15.0, 3.0)
"""Requests per second at each replica."""


@dataclass
class Answers:
    """The answers of one replica.

    Args:
        passed: The monotonic times of those with the status 200.
        statuses: How many there are of each status.

    """

    passed: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    def between(self, begin: float, end: float) -> int:
        """How many passed between two times."""
        return sum(begin <= time_ < end for time_ in self.passed)


async def _asks(replica: BrokerProcess, request: bytes, per_second: float, answers: Answers) -> None:
    """Ask at a steady rate, on one connection."""
    async with connected(replica.port) as connection:
        began, number = time.monotonic(), 0
        while True:
            reply = await connection.request(request)
            answers.statuses[reply.status] += 1
            if reply.status == 200:
                answers.passed.append(time.monotonic())
            number += 1
            await asyncio.sleep(max(0.0, began + number / per_second - time.monotonic()))


@contextlib.asynccontextmanager
async def load(
    replicas: Sequence[BrokerProcess], request: bytes, rates: Sequence[float]
) -> AsyncIterator[list[Answers]]:
    """Ask all replicas, each at its rate, on a connection of its own."""
    answers = [Answers() for _ in replicas]
    tasks = [
        asyncio.create_task(_asks(*each)) for each in zip(replicas, [request] * len(rates), rates, answers, strict=True)
    ]
    try:
        yield answers
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in ended), ended


@pytest.mark.parametrize("lose", [RedisServer.freeze, RedisServer.kill])
async def test_the_sum_is_the_limit_and_without_redis_each_has_its_part(
    own_fleet: Fleet, own_redis: RedisServer, lose: Callable[[RedisServer], None]
) -> None:
    """Replicas with a load of 180, 15 and 3 a second pass 60; without Redis none passes more than 20."""
    key = own_fleet.policy.caller("limited", EVERYTHING, rate_limit={"limit": f"{LIMIT}/s", "scope": "fleet"})
    replicas = own_fleet.start(3, REDIS_URL=own_redis.url)
    request = replicas[0].token_request(own_fleet.tenant().org, key)
    async with load(replicas, request, UNEVEN) as answers:
        await asyncio.sleep(3.0)
        begin = time.monotonic()
        await asyncio.sleep(10.0)
        sums = [one.between(begin, begin + 10.0) for one in answers]
        await asyncio.to_thread(lose, own_redis)
        await asyncio.sleep(2.5)
        away = time.monotonic()
        await asyncio.sleep(8.0)
        alone = [one.between(away, away + 8.0) for one in answers]
    print(f"with Redis {sums} in 10 s, without {alone} in 8 s")
    assert 0.9 * 10 * LIMIT <= sum(sums) <= 1.1 * 10 * LIMIT, sums
    assert sums[1] >= 0.9 * 150, sums
    assert sums[2] >= 0.9 * 30, sums
    assert max(alone) <= 8 * LIMIT / 3 + 1, alone
    assert alone[0] >= 0.8 * 8 * LIMIT / 3, alone
    assert set(answers[0].statuses) == {200, 429}


async def test_workers_share_the_limit_as_replicas_do(own_fleet: Fleet) -> None:
    """Two replicas with two workers each, at six connections, pass the limit of the fleet and no more."""
    key = own_fleet.policy.caller("limited", EVERYTHING, rate_limit={"limit": f"{LIMIT}/s", "scope": "fleet"})
    replicas = own_fleet.start(2, WORKERS="2")
    request = replicas[0].token_request(own_fleet.tenant().org, key)
    async with load(replicas * 3, request, [30.0] * 6) as answers:
        await asyncio.sleep(3.0)
        begin = time.monotonic()
        await asyncio.sleep(6.0)
        passed = sum(one.between(begin, begin + 6.0) for one in answers)
    print(f"{passed} in 6 s")
    assert 0.9 * 6 * LIMIT <= passed <= 1.1 * 6 * LIMIT
