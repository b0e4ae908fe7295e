"""A budget that IMS teaches the fleet is spent on due tokens first, and hardly at all on tenants that fail."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field

import pytest
from typing_extensions import override

from app.adapters.memory_cache import MemoryExchangeBudget
from app.domain.dependency_errors import CacheUnavailableError, ImsUnavailableError
from app.domain.errors import BrokerError
from app.domain.grant import Grant
from app.domain.learned_rate import BudgetKey
from app.domain.names import CredentialRef
from app.domain.tenant_errors import CredentialRejectedError
from app.service.exchange_places import ExchangePlaces
from app.service.fleet_budget import FleetBudget
from tests.factories import REF, make_credential, make_key, make_token
from tests.fakes import NOW, ManualClock
from tests.simulation.virtual_loop import VirtualLoop
from tests.support.documents import ref_of
from tests.support.replica_in_memory import ReplicaInMemory, World

DUE, REFUSED = 2_000, 50
ALLOWED = 5.0
"""Exchanges per second that IMS allows the client."""

LEFT = 1_500.0
"""Seconds that the due tokens still live."""

BUDGET_KEY = BudgetKey("https://ims.example", "client")


class LoopClock(ManualClock):
    """The time of the running loop."""

    @override
    def __call__(self) -> float:
        return NOW + asyncio.get_running_loop().time()


@dataclass
class ThrottlingIms:
    """Allows so many exchanges a second, answers others 429, and refuses some orgs."""

    refused: set[str]
    calls: Counter[str] = field(default_factory=Counter)
    level: float = ALLOWED
    at: float = 0.0

    async def answer(self, grant: Grant) -> None:
        """Decide about one exchange."""
        await asyncio.sleep(0.1)
        now = asyncio.get_running_loop().time()
        self.level, self.at = min(ALLOWED, self.level + (now - self.at) * ALLOWED), now
        org = grant.credential.ref.org
        self.calls["refused" if org in self.refused else "good"] += 1
        if self.level < 1.0:
            self.calls["429"] += 1
            raise ImsUnavailableError("busy", 5.0, throttled=True)
        self.level -= 1.0
        if org in self.refused:
            raise CredentialRejectedError("invalid_client")


async def _mass_of_due_tokens() -> tuple[ThrottlingIms, Counter[str], int]:
    """The calls of IMS, the answers to warm requests, and the number of tokens renewed in time."""
    world = World(clock=LoopClock())
    due = [ref_of(number) for number in range(DUE)]
    refused = [ref_of(DUE + number) for number in range(REFUSED)]
    for ref in (*due, *refused):
        world.put(make_credential(ref))
    ims = ThrottlingIms({ref.org for ref in refused})
    world.exchanger.before = ims.answer
    replica = ReplicaInMemory(
        world, places=ExchangePlaces(20), budget=MemoryExchangeBudget(asyncio.get_running_loop().time)
    )
    minted_at = NOW - LEFT
    for ref in due:
        replica.memory.put(make_token(make_key(ref.org), f"eyJ.old-{ref.org}", minted_at=minted_at, life=2 * LEFT))
    answers: Counter[str] = Counter()

    async def asks(ref: CredentialRef, kind: str) -> None:
        try:
            await replica.vend(make_key(ref.org))
        except BrokerError as error:
            answers[f"{kind} {error.code}"] += 1
        else:
            answers[f"{kind} served"] += 1

    def renewed() -> int:
        tokens = (replica.memory.get(make_key(ref.org)) for ref in due)
        return sum(token is not None and token.minted_at > minted_at for token in tokens)

    broken: set[asyncio.Task[None]] = set()
    while renewed() < DUE and asyncio.get_running_loop().time() < LEFT - 60.0:
        for ref in due:
            await asks(ref, "warm")
        broken |= {asyncio.create_task(asks(ref, "refused")) for ref in refused}
        await asyncio.sleep(10.0)
    in_time, took = renewed(), asyncio.get_running_loop().time()
    for task in broken:
        task.cancel()
    await asyncio.gather(*broken, return_exceptions=True)
    await replica.vendor.aclose(0.0)
    print(f"renewed {in_time} of {DUE} in {took:.0f} s; calls {dict(ims.calls)}; answers {dict(answers)}")
    return ims, answers, in_time


@pytest.mark.timeout(600)  # an hour of 2,000 tenants is a minute of CPU time while coverage is measured
def test_refused_tenants_cannot_spend_the_budget_of_due_tokens() -> None:
    """2,000 due tokens and 50 refused tenants at 5 exchanges/s: all renewed in time, refused at most 5 % of calls."""
    loop = VirtualLoop()
    with contextlib.closing(loop):
        ims, answers, renewed = loop.run_until_complete(_mass_of_due_tokens())
    assert renewed == DUE
    assert {answer for answer in answers if answer.startswith("warm")} == {"warm served"}
    assert ims.calls["refused"] <= 0.05 * (ims.calls["good"] + ims.calls["refused"])


async def test_without_the_shared_budget_the_replica_has_its_own() -> None:
    """What IMS taught this replica limits it also while the shared cache is away."""

    class Away:
        async def take(self, key: BudgetKey, *, was_refused: bool) -> float:
            raise CacheUnavailableError(f"{key} {was_refused}")

        async def throttled(self, key: BudgetKey) -> None:
            raise CacheUnavailableError(str(key))

    clock = ManualClock(0.0)
    budget = FleetBudget(Away(), MemoryExchangeBudget(clock))
    assert await budget.take(BUDGET_KEY, was_refused=False) == 0.0
    await budget.throttled(BUDGET_KEY)
    assert await budget.take(BUDGET_KEY, was_refused=False) > 0.0


async def test_a_refused_credential_does_not_wait_for_its_part_of_the_budget() -> None:
    """Its callers are answered at once, with the time until it may be tried; a changed document is tried at once."""
    world, clock = World(), ManualClock(0.0)
    budget = MemoryExchangeBudget(clock)
    replica = ReplicaInMemory(world, budget=budget)
    client = BudgetKey("https://ims-na1.adobelogin.com", "client-of-the-tenant")
    world.exchanger.failures[REF.org] = CredentialRejectedError("invalid_client")
    with pytest.raises(CredentialRejectedError):
        await replica.vend()
    await budget.throttled(client)
    clock.advance(10.0)
    with pytest.raises(CredentialRejectedError):
        await replica.vend()
    world.clock.advance(120.0)
    clock.advance(10.0)
    with pytest.raises(ImsUnavailableError, match="IMS throttles this client, and other exchanges come first") as late:
        await replica.vend()
    assert late.value.retry_after > 60.0
    assert world.exchanges == 2
    world.put(make_credential(generation="2"))
    world.exchanger.failures.clear()
    assert (await replica.vend()).tier == "exchange"


async def test_both_budgets_are_asked_about_the_same_client_and_learn_of_each_429() -> None:
    """The shared one is asked first, the local one only without it; both learn of a 429."""
    asked: list[tuple[str, BudgetKey, bool | None]] = []

    class Recording:
        def __init__(self, name: str, *, away: bool = False) -> None:
            self.name, self.away = name, away

        async def take(self, key: BudgetKey, *, was_refused: bool) -> float:
            asked.append((self.name, key, was_refused))
            if self.away:
                raise CacheUnavailableError("away")
            return 7.0

        async def throttled(self, key: BudgetKey) -> None:
            asked.append((self.name, key, None))

    for was_refused in (True, False):
        assert (
            await FleetBudget(Recording("shared"), Recording("local")).take(BUDGET_KEY, was_refused=was_refused) == 7.0
        )
        away = FleetBudget(Recording("shared", away=True), Recording("local"))
        assert await away.take(BUDGET_KEY, was_refused=was_refused) == 7.0
        row = ("shared", BUDGET_KEY, was_refused)
        assert asked == [row, row, ("local", BUDGET_KEY, was_refused)]
        asked.clear()
    await FleetBudget(Recording("shared"), Recording("local")).throttled(BUDGET_KEY)
    assert sorted(asked, key=str) == [("local", BUDGET_KEY, None), ("shared", BUDGET_KEY, None)]
