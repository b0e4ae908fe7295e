"""Who may exchange now: a place in this replica, and a part of the client's budget at IMS."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from app.domain.credential import Credential
from app.domain.dependency_errors import ExchangeDeferredError, ImsUnavailableError
from app.domain.learned_rate import BudgetKey
from app.domain.names import CredentialRef
from app.ports import ExchangeBudget
from app.service.exchange_places import ExchangePlace, ExchangePlaces, Purpose
from app.service.fleet_budget import Unlimited


class ExchangeAdmission:
    """Admits exchanges, and learns from how they end.

    Args:
        places: The places of exchanges of this replica.
        budget: How often IMS may be called with one client; unlimited by default.

    """

    def __init__(self, places: ExchangePlaces | None = None, budget: ExchangeBudget | None = None) -> None:
        self._places = places or ExchangePlaces()
        self._budget = budget or Unlimited()

    def place(self, ref: CredentialRef, purpose: Purpose) -> AbstractAsyncContextManager[ExchangePlace]:
        """See `ExchangePlaces.take`."""
        return self._places.take(ref, purpose)

    async def admit(self, place: ExchangePlace, credential: Credential) -> None:
        """Take a part of the budget of the credential's client.

        Raises:
            ExchangeDeferredError: It is used up for now.

        """
        client = BudgetKey(credential.ims_base_url, credential.client_id)
        self._places.belongs(place, client, credential.generation)
        wait = await self._budget.take(client, was_refused=place.was_refused)
        if wait > 0:
            self._places.defer(place, client, wait)
            raise ExchangeDeferredError(wait)
        self._places.has_budget(place)

    async def failed(self, place: ExchangePlace, error: BaseException) -> None:
        """Note how an exchange failed."""
        self._places.failed(place, error)
        if isinstance(error, ImsUnavailableError) and error.throttled and place.client is not None:
            await self._budget.throttled(place.client)

    def succeeded(self, ref: CredentialRef) -> None:
        """Note that an exchange succeeded."""
        self._places.succeeded(ref)
