"""Both implementations of `ExchangeBudget` learn the same rate from the same answers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from app.adapters.memory_cache import MemoryExchangeBudget
from app.adapters.redis import RedisClient, RedisExchangeBudget
from app.domain.learned_rate import BudgetKey
from app.ports import ExchangeBudget
from tests.support.recorded_events import RecordedEvents
from tests.support.redis_server import RedisServer

ONE = BudgetKey("https://ims.example", "one")
OTHER = BudgetKey("https://ims.example", "other")


@pytest.fixture(params=["memory", "redis"])
async def budgets(
    request: pytest.FixtureRequest, redis_server: RedisServer
) -> AsyncIterator[tuple[ExchangeBudget, ExchangeBudget]]:
    """The budget as two replicas see it; in memory they are one."""
    if request.param == "memory":
        memory = MemoryExchangeBudget(time.monotonic)
        yield memory, memory
        return
    clients = [RedisClient(redis_server.url, RecordedEvents(), timeout=5.0) for _ in range(2)]
    first, second = (RedisExchangeBudget(client, f"test-{time.time_ns()}") for client in clients)
    second._names = first._names
    yield first, second
    for client in clients:
        await client.aclose()


Budgets = tuple[ExchangeBudget, ExchangeBudget]


async def test_without_a_429_there_is_no_limit(budgets: Budgets) -> None:
    """A hundred calls at once may be made."""
    assert {await budgets[number % 2].take(ONE, was_refused=number % 5 == 0) for number in range(100)} == {0.0}


async def test_a_429_halves_the_rate_for_all_replicas_and_one_client(budgets: Budgets) -> None:
    """After twenty calls in a moment the rate is 10/s, so the next call waits about a tenth of a second."""
    for _ in range(20):
        await budgets[0].take(ONE, was_refused=False)
    for budget in budgets:  # The second one is the same event.
        await budget.throttled(ONE)
    assert 0.05 < await budgets[1].take(ONE, was_refused=False) < 0.2
    assert await budgets[1].take(OTHER, was_refused=False) == 0.0


async def test_credentials_that_ims_refused_have_a_small_part(budgets: Budgets) -> None:
    """Once the budget is learned they get one call, and the next after many of others or two minutes."""
    for _ in range(400):
        await budgets[0].take(ONE, was_refused=False)
    await budgets[0].throttled(ONE)
    end = time.monotonic() + 5.0
    while await budgets[0].take(ONE, was_refused=True):
        assert time.monotonic() < end
    assert await budgets[1].take(ONE, was_refused=True) > 60.0
    while await budgets[1].take(ONE, was_refused=False):
        assert time.monotonic() < end
