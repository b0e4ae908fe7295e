"""An exchange is admitted if it has a place and a part of its client's budget, and how it ends is learned from."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from app.domain.dependency_errors import (
    CredentialStoreError,
    ExchangeDeferredError,
    ImsUnavailableError,
    OverloadedError,
)
from app.domain.learned_rate import BudgetKey
from app.domain.tenant_errors import CredentialRejectedError
from app.service.exchange_admission import ExchangeAdmission
from app.service.exchange_places import ExchangePlaces, Purpose
from tests.factories import OTHER_REF, REF, make_credential

CREDENTIAL = make_credential(generation="7")
CLIENT = BudgetKey(CREDENTIAL.ims_base_url, CREDENTIAL.client_id)
THROTTLED = ImsUnavailableError("busy", 1.0, throttled=True)


@dataclass
class RecordedBudget:
    """A budget that answers with `wait`, and records what it was asked."""

    wait: float = 0.0
    taken: list[tuple[BudgetKey, bool]] = field(default_factory=list)
    throttles: list[BudgetKey] = field(default_factory=list)

    async def take(self, key: BudgetKey, *, was_refused: bool) -> float:
        """Record it."""
        self.taken.append((key, was_refused))
        return self.wait

    async def throttled(self, key: BudgetKey) -> None:
        """Record it."""
        self.throttles.append(key)


@pytest.fixture
def budget() -> RecordedBudget:
    """One with enough for everyone."""
    return RecordedBudget()


@pytest.fixture
def places() -> ExchangePlaces:
    """Places for which no exchange waits long."""
    return ExchangePlaces(longest_wait=0.05)


@pytest.fixture
def admission(places: ExchangePlaces, budget: RecordedBudget) -> ExchangeAdmission:
    """Admission with both."""
    return ExchangeAdmission(places, budget)


async def test_an_exchange_takes_a_place_and_a_part_of_the_budget_of_its_client(
    admission: ExchangeAdmission, places: ExchangePlaces, budget: RecordedBudget
) -> None:
    """The place is one for its credential and purpose, and knows the client and the version of the credential."""
    async with admission.place(REF, Purpose.REFRESH) as place:
        assert (place.ref, place.rank) == (REF, "refresh")
        assert places.running() == {"prompt": 1, "slow": 0}
        await admission.admit(place, CREDENTIAL)
        assert budget.taken == [(CLIENT, False)]
        assert (place.client, place.generation, place.has_budget) == (CLIENT, "7", True)
    assert places.running() == {"prompt": 0, "slow": 0}


@pytest.mark.parametrize("wait", [0.25, 3.0])
async def test_without_budget_an_exchange_is_deferred_and_the_next_ones_of_its_client_wait(
    admission: ExchangeAdmission, places: ExchangePlaces, budget: RecordedBudget, wait: float
) -> None:
    """For as long as the budget says; the exchanges of other clients do not."""
    budget.wait = wait
    async with admission.place(REF, Purpose.COLD) as place:
        with pytest.raises(ExchangeDeferredError) as deferred:
            await admission.admit(place, CREDENTIAL)
        assert deferred.value.retry_after == wait
        assert not place.has_budget
    assert places.deferred() == 1
    with pytest.raises(OverloadedError):
        async with admission.place(REF, Purpose.COLD):
            pytest.fail("It has a place before there is budget.")
    async with admission.place(OTHER_REF, Purpose.COLD):
        pass


@pytest.mark.parametrize(("error", "learned"), [
    (THROTTLED, [CLIENT]), (ImsUnavailableError("away"), []), (CredentialStoreError("away"), []),
])  # fmt: skip
async def test_the_budget_learns_only_from_an_ims_that_is_busy(
    admission: ExchangeAdmission, budget: RecordedBudget, error: Exception, learned: list[BudgetKey]
) -> None:
    """A 429 is counted for the client; an outage is not."""
    async with admission.place(REF, Purpose.COLD) as place:
        await admission.admit(place, CREDENTIAL)
        await admission.failed(place, error)
    assert budget.throttles == learned


async def test_an_exchange_that_had_no_client_yet_teaches_nothing(
    admission: ExchangeAdmission, budget: RecordedBudget
) -> None:
    """If it failed before its credential was read, no budget is known for it."""
    async with admission.place(REF, Purpose.COLD) as place:
        await admission.failed(place, THROTTLED)
    assert budget.throttles == []


async def test_a_credential_that_ims_refused_is_suspect_until_it_succeeds(
    admission: ExchangeAdmission, budget: RecordedBudget
) -> None:
    """Its next exchanges come after those of others, and the budget learns of the refusal."""
    async with admission.place(REF, Purpose.COLD) as place:
        await admission.admit(place, CREDENTIAL)
        await admission.failed(place, CredentialRejectedError("refused"))
    async with admission.place(REF, Purpose.COLD) as place:
        assert place.is_suspect
        await admission.admit(place, CREDENTIAL)
    assert budget.taken == [(CLIENT, False), (CLIENT, True)]
    admission.succeeded(REF)
    async with admission.place(REF, Purpose.COLD) as place:
        assert not place.is_suspect


async def test_places_and_budget_are_optional() -> None:
    """Without them, an exchange is always admitted, and learns nothing from its failure."""
    admission = ExchangeAdmission()
    async with admission.place(REF, Purpose.COLD) as place:
        await admission.admit(place, CREDENTIAL)
        await admission.failed(place, THROTTLED)
