"""The budget of the fleet, or while the shared cache is away that of this replica."""

from __future__ import annotations

from app.domain.dependency_errors import CacheUnavailableError
from app.domain.learned_rate import BudgetKey
from app.ports import ExchangeBudget


class FleetBudget:
    """Asks the shared budget, and a local one if that does not answer.

    Args:
        shared: The budget of all replicas.
        local: That of this replica; it learns from the same answers of IMS.

    """

    def __init__(self, shared: ExchangeBudget, local: ExchangeBudget) -> None:
        self._shared = shared
        self._local = local

    async def take(self, key: BudgetKey, *, was_refused: bool) -> float:
        """See `app.ports.ExchangeBudget.take`; never raises."""
        try:
            return await self._shared.take(key, was_refused=was_refused)
        except CacheUnavailableError:
            return await self._local.take(key, was_refused=was_refused)

    async def throttled(self, key: BudgetKey) -> None:
        """See `app.ports.ExchangeBudget.throttled`; never raises."""
        await self._local.throttled(key)
        try:
            await self._shared.throttled(key)
        except CacheUnavailableError:
            return


class Unlimited:
    """No budget at all."""

    async def take(self, key: BudgetKey, *, was_refused: bool) -> float:  # noqa: ARG002  # the port's
        """Always 0."""
        return 0.0

    async def throttled(self, key: BudgetKey) -> None:
        """Learn nothing."""
