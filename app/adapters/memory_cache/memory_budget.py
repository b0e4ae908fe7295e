"""`ExchangeBudget` in one process: without Redis, and while it is away."""

from __future__ import annotations

from cachetools import LRUCache

from app.domain.learned_rate import BudgetKey, LearnedRate
from app.ports import Clock


class MemoryExchangeBudget:
    """Learned rates in a dictionary.

    Args:
        monotonic: A clock in seconds that never steps.
        capacity: Most clients; beyond it the least recently used is forgotten.

    """

    def __init__(self, monotonic: Clock, capacity: int = 10_000) -> None:
        self._monotonic = monotonic
        self._rates = LRUCache[BudgetKey, LearnedRate](capacity)

    async def take(self, key: BudgetKey, *, was_refused: bool) -> float:
        """See `app.ports.ExchangeBudget.take`."""
        return self._rate(key).take(self._monotonic(), was_refused=was_refused)

    async def throttled(self, key: BudgetKey) -> None:
        """See `app.ports.ExchangeBudget.throttled`."""
        self._rate(key).throttled(self._monotonic())

    def _rate(self, key: BudgetKey) -> LearnedRate:
        rate = self._rates.get(key)
        if rate is None:
            rate = self._rates[key] = LearnedRate(self._monotonic())
        return rate
